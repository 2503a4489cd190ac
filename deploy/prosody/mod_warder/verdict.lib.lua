-- What a verdict means to those who sent and to those who would have received.
-- Knows nothing of how the verdict came about.
--
-- local verdicts = module:require "verdict".new(settings);
-- verdicts:verify(stanza) -> function for ask.lib.lua, or nil: whether a reply makes sense for this stanza
-- verdicts:apply(operation, hook, event, verdict) -> true when the stanza goes no further, else nil
-- verdicts:error_of(operation, verdict) -> { type, condition, text, element } of a deny or a defer
-- verdicts:error_reply(operation, stanza, verdict) -> the stanza's error with it

local st = require "util.stanza";
local id = require "util.id".medium;

local exempt = module:require "exempt";
local stanza_xml = module:require "stanza_xml";

-- What a refusal says when the answer does not. RFC 6120, section 8.3.3; for joins XEP-0045, section 7.2.7, where
-- not-authorized would make clients ask for a password.
local default_errors = {
	["stanza-check"] = { type = "cancel", condition = "not-allowed", text = "This is not allowed here" };
	["join-check"] = { type = "auth", condition = "forbidden", text = "You may not enter this room" };
	["session-check"] = { type = "cancel", condition = "not-allowed", text = "You may not open a session now" };
	["roster-set"] = { type = "cancel", condition = "not-allowed", text = "This contact list is kept elsewhere" };
	["roster-subscription"] = { type = "cancel", condition = "not-allowed", text = "This subscription is not allowed" };
};
local deferral = { type = "wait", condition = "resource-constraint", text = "Try again later" };

-- Nobody sent these knowingly, so nobody is to be told that they failed.
local notices = {
	["http://jabber.org/protocol/chatstates"] = true; -- XEP-0085
	["urn:xmpp:receipts"] = true; -- XEP-0184
	["urn:xmpp:chat-markers:0"] = true; -- XEP-0333
	["urn:xmpp:hints"] = true; -- XEP-0334
	["urn:xmpp:sid:0"] = true; -- XEP-0359
	["urn:xmpp:delay"] = true; -- XEP-0203
};

local verdict_methods = {};
local verdict_mt = { __index = verdict_methods };

local function is_notice(stanza)
	if stanza.name ~= "message" or stanza:get_child("body") then return false; end
	for _, child in ipairs(stanza.tags) do
		if not notices[child.attr.xmlns] and child.name ~= "thread" then return false; end
	end
	return true;
end

function verdict_methods:error_of(operation, verdict) -- luacheck: ignore 212/self
	local default = verdict.verdict == "defer" and deferral or default_errors[operation];
	local given = verdict.error;
	if not given then return default; end
	local whole = given.xml and stanza_xml.error(given.xml);
	-- A client tries again by the type, so a deferral says wait whatever else it says.
	if whole and (verdict.verdict ~= "defer" or whole.type == "wait") then return whole; end
	local type = verdict.verdict == "defer" and "wait" or stanza_xml.error_types[given.type] and given.type;
	local condition = stanza_xml.conditions[given.condition] and given.condition;
	local text = given.text;
	if not stanza_xml.is_text(text) or text == "" then text = nil; end
	return {
		type = type or default.type;
		condition = condition or default.condition;
		text = text or not condition and default.text or nil;
	};
end

function verdict_methods:error_reply(operation, stanza, verdict)
	local err = self:error_of(operation, verdict);
	if not err.element then return st.error_reply(stanza, err.type, err.condition, err.text); end
	local reply = st.reply(stanza);
	reply.attr.type = "error";
	return reply:add_child(err.element);
end

-- Tells the sender, if he is one to be told. A room, or whoever sends like one, would take an error for a reason to
-- throw the recipient out.
function verdict_methods:refuse(operation, hook, event, verdict)
	local origin, stanza = event.origin, event.stanza;
	if stanza.attr.type == "error" or is_notice(stanza) then return; end
	if hook ~= "send" and operation == "stanza-check" and stanza.name ~= "iq" then
		local is_from_room = not exempt.is_room_host(module.host) and stanza.attr.type == "groupchat";
		if is_from_room or exempt.is_from_joined_room(stanza) then return; end
	end
	local reply = self:error_reply(operation, stanza, verdict);
	exempt.mark_own(reply);
	origin.send(reply);
end

-- A request that nobody answers would hang its client (RFC 6120, section 8.2.3), so it hears what it would hear if
-- nobody were there.
local function answer_dropped_request(event)
	local stanza = event.stanza;
	if stanza.name ~= "iq" then return; end
	event.origin.send(st.error_reply(stanza, "cancel", "service-unavailable"));
end

-- The second stanza: a message goes as it is, a bare error in a message of its own. It can come from nobody but the
-- sender and go to nobody but the recipient.
function verdict_methods:notify(event, verdict)
	if not self.settings.notify or not verdict.notify then return; end
	local stanza = event.stanza;
	local err = stanza_xml.error(verdict.notify);
	local notice = not err and stanza_xml.stanza(verdict.notify);
	if err then
		notice = st.message({ type = "error" }):add_child(err.element);
	elseif not notice or notice.name ~= "message" then
		module:log("warn", "The notification about %s is neither a message nor an error; left out", stanza.attr.from);
		return;
	end
	notice.attr.from, notice.attr.to = stanza.attr.from, stanza.attr.to;
	notice.attr.id = notice.attr.id or id();
	exempt.mark_own(notice);
	module:send(notice);
end

-- The replacement of a modify, or nil when it would not be the same stanza any more.
local function replacement(stanza, text)
	local new = stanza_xml.stanza(text);
	if not new or new.name ~= stanza.name then return nil; end
	for _, name in ipairs({ "from", "to", "id" }) do
		if new.attr[name] ~= stanza.attr[name] then return nil; end
	end
	local type = new.attr.type;
	-- What decides how a stanza is answered, or makes another thing of it, stays.
	if type ~= stanza.attr.type and (type == "error" or stanza.name ~= "message") then return nil; end
	return new;
end

-- In place: the stanza is held by callers further up, who send on what they hold.
local function replace(stanza, new)
	for i = #stanza, 1, -1 do stanza[i] = nil; end
	for i = #stanza.tags, 1, -1 do stanza.tags[i] = nil; end
	for name in pairs(stanza.attr) do stanza.attr[name] = nil; end
	for name, value in pairs(new.attr) do stanza.attr[name] = value; end
	for _, child in ipairs(new) do stanza:add_direct_child(child); end
end

function verdict_methods:verify(stanza) -- luacheck: ignore 212/self
	return function (reply)
		if reply.verdict ~= "modify" then return true; end
		reply.replacement = replacement(stanza, reply.stanza);
		return reply.replacement ~= nil;
	end;
end

local function report(operation, stanza, verdict)
	if verdict.verdict == "allow" or verdict.failure then return; end
	module:log("info", "%s: %s for %s from %s to %s%s", operation, verdict.verdict, stanza.name, stanza.attr.from,
		stanza.attr.to, verdict.reason and (" ("..verdict.reason:sub(1, 200)..")") or "");
end

function verdict_methods:apply(operation, hook, event, verdict)
	local word = verdict.verdict;
	report(operation, event.stanza, verdict);
	if word == "allow" then
		return nil;
	elseif word == "modify" then
		replace(event.stanza, verdict.replacement);
		return nil;
	elseif word == "drop" then
		answer_dropped_request(event);
		self:notify(event, verdict);
	elseif word == "defer" then
		self:refuse(operation, hook, event, verdict);
	else
		self:refuse(operation, hook, event, verdict);
		self:notify(event, verdict);
	end
	return true;
end

local function new(settings)
	return setmetatable({ settings = settings }, verdict_mt);
end

return { new = new };
