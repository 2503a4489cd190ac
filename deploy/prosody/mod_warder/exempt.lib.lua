-- What is never checked, whatever is configured. Each reason here has a test of its own.
--
-- local exempt = module:require "exempt".new(kinds);
-- exempt(hook, event) -> the reason as text, or nil when the stanza is to be checked

local jid_bare = require "util.jid".bare;
local jid_host = require "util.jid".host;
local jid_resource = require "util.jid".resource;

local byte = string.byte;

local hosts = prosody.hosts;
local full_sessions = prosody.full_sessions;

-- What Warder itself sends.
local own = module:shared("/*/warder/own-cache");

-- Taking back a subscription must always be possible; a lost unavailable leaves ghosts; a probe is the server's own.
local never_presence = { unavailable = true, probe = true, unsubscribe = true, unsubscribed = true };

local function is_room_host(host)
	local session = hosts[host];
	return session ~= nil and session.modules ~= nil and session.modules.muc ~= nil;
end

-- Whether the recipient has entered the room that this comes from. Only his own directed presence tells: anybody can
-- send a stanza that looks like a room's.
local function is_from_joined_room(stanza)
	local session = full_sessions[stanza.attr.to];
	local room = jid_bare(stanza.attr.from);
	if session == nil or session.directed == nil then return false; end
	for jid in pairs(session.directed) do
		if jid_bare(jid) == room then return true; end
	end
	return false;
end

-- A room checks what its occupants send to it, once; its copies to the others are not checked again.
local function is_room_copy(stanza)
	if stanza.name == "iq" then return false; end
	if is_room_host(jid_host(stanza.attr.from)) then return true; end
	local copied = stanza.name == "presence" or stanza.attr.type == "groupchat"
		or stanza:get_child("result", "urn:xmpp:mam:2") ~= nil;
	return copied and is_from_joined_room(stanza);
end

-- What mod_presence sends on to every contact while it walks the roster: a wait there would let others change the roster
-- under its feet. The contacts have been approved, which is a subscription's question.
local function is_broadcast(origin, stanza)
	if origin.presence == stanza then return true; end
	-- A client's own stanzas are stamped with its full JID; what comes from the bare one was made by the server.
	if origin.full_jid ~= nil and jid_resource(stanza.attr.from) == nil then return true; end
	local item = stanza.attr.type == nil and origin.roster and origin.roster[stanza.attr.to];
	return item and (item.subscription == "both" or item.subscription == "from") or false;
end

-- The first bytes tell most of them apart, and taking JIDs apart is the dearest of all that is done here.
local function is_same_account(from, to)
	return byte(from) == byte(to) and jid_bare(from) == jid_bare(to);
end

local function new(kinds)
	return function (hook, event)
		local origin, stanza = event.origin, event.stanza;
		local kind, type, to = stanza.name, stanza.attr.type, stanza.attr.to;
		local from = stanza.attr.from or origin.full_jid;
		if not kinds[kind] then
			return "kind";
		elseif own[stanza] then
			return "own";
		elseif type == "error" then
			return "error";
		elseif kind == "iq" and type == "result" then
			return "iq-result";
		elseif kind == "presence" and never_presence[type] then
			return "presence-"..type;
		elseif to == nil or from == nil or is_same_account(from, to) then
			return "self";
		elseif kind == "presence" and is_broadcast(origin, stanza) then
			return "broadcast";
		elseif hook ~= "send" and is_room_copy(stanza) then
			return "room-copy";
		end
	end;
end

return {
	new = new;
	is_from_joined_room = is_from_joined_room;
	is_room_host = is_room_host;
	mark_own = function (stanza) own[stanza] = true; end;
};
