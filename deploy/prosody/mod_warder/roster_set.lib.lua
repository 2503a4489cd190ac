-- A contact that a client adds, renames, regroups or removes: asked about first, then done as mod_roster does it. Nothing
-- has changed before the answer.
--
-- module:require "roster_set".start(decider, verdicts, rosters);      rosters as in roster_refresh.lib.lua

local jid_prep = require "util.jid".prep;
local jid_resource = require "util.jid".resource;
local rostermanager = require "core.rostermanager";
local st = require "util.stanza";

local state = module:require "roster_state";
local reading = module:require "reading";

local operation = "roster-set";
-- Before the roster is served (roster.lib.lua).
local priority = 110;

-- What the workers take (docs/protocol.md).
local max_text_bytes, max_groups = 1023, 1000;

local host = module.host;

local function groups_of(item)
	local groups, seen = {}, {};
	for tag in item:childtags("group") do
		local group = tag:get_text() or "";
		if group == "" or #group > max_text_bytes then
			return nil, "not-acceptable", "A group has no name, or one that is too long";
		elseif seen[group] then
			return nil, "bad-request", "A group is named twice";
		end
		seen[group] = true;
		groups[#groups + 1] = group;
	end
	if #groups > max_groups then return nil, "not-acceptable", "These are too many groups"; end
	return groups;
end

-- What is asked about: RFC 6121, section 2.3.3, with the errors that are named there.
local function read(stanza, username)
	local query = stanza.tags[1];
	local item = query.tags[1];
	if #query.tags ~= 1 or item.name ~= "item" or item.attr.xmlns ~= "jabber:iq:roster" then
		return nil, "modify", "bad-request", "One contact is needed";
	end
	local contact = item.attr.jid and jid_prep(item.attr.jid);
	if not contact or jid_resource(contact) then return nil, "modify", "bad-request", "The contact has no usable JID"; end
	local user = username.."@"..host;
	if contact == user then return nil, "cancel", "not-allowed", "Nobody is his own contact"; end
	if item.attr.subscription == "remove" then return { user = user, contact = contact, remove = true }; end
	local name = item.attr.name;
	if name == "" then name = nil; end
	if name and #name > max_text_bytes then return nil, "modify", "not-acceptable", "The name is too long"; end
	local groups, condition, text = groups_of(item);
	if not groups then return nil, "modify", condition, text; end
	return { user = user, contact = contact, name = name, groups = groups };
end

local function find(username, contact)
	return rostermanager.load_roster(username, host)[contact];
end

local function save(username, roster, contact)
	if rostermanager.save_roster(username, host, roster, contact) then return true; end
	return nil, "wait", "internal-server-error", "The contact list could not be stored";
end

local function set(username, contact, name, groups)
	local roster = rostermanager.load_roster(username, host);
	local old, new = roster[contact], { subscription = "none" };
	for key, value in pairs(old or {}) do new[key] = value; end
	new.name, new.groups = name ~= "" and name or nil, {};
	for _, group in ipairs(groups) do
		if group ~= "" then new.groups[group] = true; end
	end
	roster[contact] = new;
	local ok, type, condition, text = save(username, roster, contact);
	if not ok then
		roster[contact] = old;
		return nil, type, condition, text;
	end
	return { jid = contact, old = old, new = new };
end

-- The subscriptions go both ways (RFC 6121, section 2.5.2), which mod_presence sees to.
local function remove(session, username, contact)
	local roster = rostermanager.load_roster(username, host);
	local old, pending = roster[contact], roster[false].pending;
	module:fire_event("roster-item-removed", {
		username = username, jid = contact, item = old, roster = roster,
		origin = session.destroyed and prosody.hosts[host] or session;
	});
	local request = pending[contact];
	roster[contact], pending[contact] = nil, nil;
	local ok, type, condition, text = save(username, roster, contact);
	if not ok then
		roster[contact], pending[contact] = old, request;
		return nil, type, condition, text;
	end
	return { jid = contact, old = old };
end

-- A name or groups in a removal are no answer to it.
local function verify(change)
	return function (reply) return reply.verdict ~= "modify" or not change.remove; end;
end

local function apply(session, username, change, verdict)
	local contact = change.contact;
	if change.remove then
		if not find(username, contact) then return nil, "modify", "item-not-found"; end
		return remove(session, username, contact);
	end
	local item = verdict.verdict == "modify" and verdict.item or change;
	return set(username, contact, item.name, item.groups or {});
end

-- The change that is asked about; nil where the client has been told why there is none.
local function prepare(session, stanza)
	local function refuse(type, condition, text)
		session.send(st.error_reply(stanza, type, condition, text));
	end
	local change, type, condition, text = read(stanza, session.username);
	if not change then return refuse(type, condition, text); end
	-- What a contact becomes depends on what he was.
	if not state.is_known(session.username) then
		return refuse("wait", "resource-constraint", "The contact list cannot be had now; try again later");
	end
	if change.remove and not find(session.username, change.contact) then return refuse("modify", "item-not-found"); end
	return change;
end

local function finish(session, stanza, username, change, verdict)
	local done, type, condition, text = apply(session, username, change, verdict);
	if done then
		session.send(st.reply(stanza));
		state.push(username, { done });
	else
		session.send(st.error_reply(stanza, type, condition, text));
	end
end

local function start(decider, verdicts, rosters)
	-- Nobody is left without an answer. What waits is not within it: Lua 5.1 could not.
	local function guarded(session, stanza, step, ...)
		local ok, result = xpcall(step, debug.traceback, session, stanza, ...);
		if ok then return result; end
		module:log("error", "A change of the roster of %s failed: %s", stanza.attr.from, result);
		session.send(st.error_reply(stanza, "wait", "internal-server-error"));
	end

	local function refuse(session, stanza, verdict)
		session.send(verdicts:error_reply(operation, stanza, verdict));
	end

	module:hook("iq/self/jabber:iq:roster:query", function (event)
		local session, stanza = event.origin, event.stanza;
		if stanza.attr.type ~= "set" then return nil; end
		-- Afterwards the session may be gone, and with it its name.
		local username = session.username;
		local change = guarded(session, stanza, prepare);
		if not change then return true; end
		local verdict = decider:ask(operation, "local", change, verify(change));
		reading.go_on(session);
		if verdict.verdict == "allow" or verdict.verdict == "modify" then
			rosters:changed_here(username, verdict.seq);
			guarded(session, stanza, finish, username, change, verdict);
		else
			module:log("info", "%s: %s for %s about %s%s", operation, verdict.verdict, change.user, change.contact,
				verdict.reason and (" ("..verdict.reason:sub(1, 200)..")") or "");
			guarded(session, stanza, refuse, verdict);
		end
		return true;
	end, priority);
end

return { start = start };
