-- One account's roster as Prosody holds it, made equal to the one that was answered. The table is changed in place, because
-- every session of the account and the rest of Prosody hold the same one. It is stored too: presence probes, archives and
-- block lists consult it while the user is offline, and it is what is last known.
--
-- local state = module:require "roster_state";
-- state.apply(username, answer) -> changes, requests      answer: { version, items, pending } of a reply
--   changes: list of { jid, old, new }, items in Prosody's form or nil. requests: stanzas that ask for a subscription, new ones
--   What follows for clients and contacts is in roster_changes.lib.lua
-- state.is_known(username)          whether an answer was ever applied
-- state.version(roster)             for RFC 6121's ver
-- state.push(username, changes)     to the interested sessions
-- state.add_item(query, jid, item)  item: nil for one that is gone

local it = require "util.iterators";
local jid_prep = require "util.jid".prep;
local jid_resource = require "util.jid".resource;
local new_id = require "util.id".short;
local rostermanager = require "core.rostermanager";
local sha1 = require "util.hashes".sha1;
local st = require "util.stanza";

local host = module.host;

local function sorted_groups(item)
	local groups = {};
	for group in pairs(item.groups or {}) do groups[#groups + 1] = group; end
	table.sort(groups);
	return groups;
end

local function fingerprint(item)
	if not item then return ""; end
	return table.concat({ item.subscription or "none", item.ask or "", item.name or "",
		table.concat(sorted_groups(item), "\1") }, "\2");
end

local function digest(roster)
	local lines = {};
	for jid, item in pairs(roster) do
		if jid then lines[#lines + 1] = jid.."\2"..fingerprint(item); end
	end
	table.sort(lines);
	return sha1(table.concat(lines, "\3"), true);
end

-- The answered version as long as the content is the answered one; a subscription may have changed it since.
local function version(roster)
	local applied, current = roster[false].warder, digest(roster);
	return applied and applied.digest == current and applied.version or current;
end

local function is_contact(jid, username)
	return jid ~= nil and jid_resource(jid) == nil and jid ~= username.."@"..host;
end

local function to_items(answer, username)
	local items, unusable = {}, 0;
	for _, given in ipairs(answer.items) do
		local jid = jid_prep(given.jid);
		if is_contact(jid, username) then
			local groups = {};
			for _, group in ipairs(given.groups or {}) do
				if group ~= "" then groups[group] = true; end
			end
			items[jid] = {
				subscription = given.subscription;
				ask = given.ask;
				name = given.name ~= "" and given.name or nil;
				groups = groups;
			};
		else
			unusable = unusable + 1;
		end
	end
	if unusable > 0 then
		module:log("warn", "%d contacts of %s@%s have no usable JID; left out", unusable, username, host);
	end
	return items;
end

local function may_see(item)
	return item ~= nil and (item.subscription == "from" or item.subscription == "both");
end

-- Requests that came by themselves stay until they are answered: Prosody alone knows of them. Those of the answer stay as
-- long as it names them. given: those of the last one, by JID; returned anew, with the stanzas of those that were not there.
local function merge_pending(roster, answer, username, given)
	local pending, requests, named = roster[false].pending, {}, {};
	for _, request in ipairs(answer.pending or {}) do
		local jid = jid_prep(request.jid);
		if is_contact(jid, username) and not may_see(roster[jid]) then
			local stanza = st.presence({ type = "subscribe", from = jid, to = username.."@"..host });
			if request.text then stanza:text_tag("status", request.text); end
			if not pending[jid] then requests[#requests + 1] = stanza; end
			if not pending[jid] or given[jid] then pending[jid] = st.preserialize(stanza); end
			named[jid] = true;
		end
	end
	for jid in pairs(pending) do
		if given[jid] and not named[jid] or may_see(roster[jid]) then pending[jid] = nil; end
	end
	return named, requests;
end

local function are_same(one, other)
	for key in pairs(one) do
		if not other[key] then return false; end
	end
	for key in pairs(other) do
		if not one[key] then return false; end
	end
	return true;
end

local function apply(username, answer)
	local roster = rostermanager.load_roster(username, host);
	local items, changes = to_items(answer, username), {};
	for jid, new in it.sorted_pairs(items) do
		local old = roster[jid];
		if not old or fingerprint(old) ~= fingerprint(new) then
			new.approved = old and old.approved;
			changes[#changes + 1] = { jid = jid, old = old, new = new };
		end
	end
	for jid, old in pairs(roster) do
		if jid and not items[jid] then changes[#changes + 1] = { jid = jid, old = old }; end
	end
	for _, change in ipairs(changes) do roster[change.jid] = change.new; end
	local applied = roster[false].warder;
	local given = applied and applied.pending or {};
	local named, requests = merge_pending(roster, answer, username, given);
	if #changes > 0 or not applied or applied.version ~= answer.version or not are_same(named, given) then
		roster[false].warder = { version = answer.version, digest = digest(roster), pending = named };
		if not rostermanager.save_roster(username, host, roster) then
			module:log("warn", "The roster of %s@%s could not be stored; it is lost with the session", username, host);
		end
	end
	return changes, requests;
end

local function is_known(username)
	local roster = rostermanager.load_roster(username, host);
	return roster[false].warder ~= nil;
end

local function add_item(query, jid, item)
	if not item then return query:tag("item", { jid = jid, subscription = "remove" }):up(); end
	query:tag("item", { jid = jid, subscription = item.subscription, ask = item.ask, name = item.name });
	for _, group in ipairs(sorted_groups(item)) do query:text_tag("group", group); end
	return query:up();
end

-- One item a push (RFC 6121, section 2.1.6). Only the last leaves the client with the whole roster, so only it has the
-- roster's version.
local function push(username, changes)
	local user = prosody.bare_sessions[username.."@"..host];
	if not user or #changes == 0 then return; end
	local ver, sessions = version(rostermanager.load_roster(username, host)), {};
	for _, session in pairs(user.sessions) do
		if session.interested then sessions[#sessions + 1] = session; end
	end
	for _, session in ipairs(sessions) do
		for n, change in ipairs(changes) do
			local iq = st.iq({ type = "set", id = new_id() })
				:tag("query", { xmlns = "jabber:iq:roster", ver = n == #changes and ver or ver.."-"..n });
			session.send(add_item(iq, change.jid, change.new));
		end
	end
end

return {
	apply = apply;
	is_known = is_known;
	version = version;
	push = push;
	add_item = add_item;
};
