-- What a reply must look like to be one: its envelope and the type of every field that a hook uses. Plain Lua.
--
-- replies.check(operation, reply, id) -> reply                  fields of the right type or nil, unknown scopes "none"
--                                     -> nil, failure, detail   what the worker answered, or "bad-reply"
-- replies.operations: the set of operations that there are

local codec = module:require "codec";

local type, pairs, ipairs = type, pairs, ipairs;
local infinity = math.huge;
local is_list, is_map = codec.is_list, codec.is_map;

local function set(...)
	local result = {};
	for _, word in ipairs { ... } do result[word] = true; end
	return result;
end

local failures = set("bad-request", "too-large", "expired", "overloaded", "stanza-required", "source-unavailable", "internal");
local verdicts = set("allow", "deny", "drop", "modify", "defer");
local scopes = set("pair", "pair-full", "sender", "room", "none");
local subscriptions = set("none", "from", "to", "both");
-- RFC 6120 section 8.3.2 and 8.3.3
local error_types = set("auth", "cancel", "continue", "modify", "wait");
local conditions = set("bad-request", "conflict", "feature-not-implemented", "forbidden", "gone", "internal-server-error",
	"item-not-found", "jid-malformed", "not-acceptable", "not-allowed", "not-authorized", "policy-violation",
	"recipient-unavailable", "redirect", "registration-required", "remote-server-not-found", "remote-server-timeout",
	"resource-constraint", "service-unavailable", "subscription-required", "undefined-condition", "unexpected-request");

-- What XML 1.0 has no form for would end the stream of the client that it is sent to.
local function is_text(value)
	return type(value) == "string" and not value:find("[\0-\8\11\12\14-\31]") and not value:find("\xEF\xBF[\xBE\xBF]");
end

local function is_string(value) return type(value) == "string"; end
local function is_boolean(value) return type(value) == "boolean"; end
local function is_number(value)
	return type(value) == "number" and value >= 0 and value < infinity;
end
local function is_whole(value) return is_number(value) and value % 1 == 0; end

local function optional(check)
	return function (value) return value == nil or check(value); end;
end

local function one_of(words)
	return function (value) return type(value) == "string" and words[value] == true; end;
end

local function list_of(check)
	return function (value)
		if not is_list(value) then return false; end
		for _, item in ipairs(value) do
			if not check(item) then return false; end
		end
		return true;
	end;
end

local function map_of(check)
	return function (value)
		if not is_map(value) then return false; end
		for key, item in pairs(value) do
			if not is_text(key) or not check(item) then return false; end
		end
		return true;
	end;
end

-- Returns the name of the field that is wrong too.
local function fields(checks)
	return function (value)
		if not is_map(value) then return false, "it is no map"; end
		for name, check in pairs(checks) do
			local ok, within = check(value[name]);
			if not ok then return false, within and name.."."..within or name; end
		end
		return true;
	end;
end

local contact = {
	jid = is_text;
	name = optional(is_text);
	subscription = one_of(subscriptions);
	ask = optional(one_of(set("subscribe")));
	groups = optional(list_of(is_text));
};

local stanza_error = {
	type = optional(is_string);
	condition = optional(is_string);
	text = optional(is_text);
	xml = optional(is_text);
};

local decision = {
	verdict = one_of(verdicts);
	error = optional(fields(stanza_error));
	notify = optional(is_text);
	stanza = optional(is_text);
	reason = optional(is_string);
	ttl_ms = optional(is_number);
	scope = optional(is_string);
	degraded = optional(is_string);
};

local replies = {
	["stanza-check"] = decision;
	["join-check"] = decision;
	["session-check"] = decision;
	["roster-set"] = decision;
	["roster-subscription"] = decision;
	["roster-refresh"] = {
		status = one_of(set("ok", "error"));
		message = optional(is_string);
		updated = optional(is_whole);
		errors = optional(is_whole);
		again_ms = optional(is_number);
		rosters = map_of(fields {
			version = is_text;
			items = list_of(fields(contact));
			pending = optional(list_of(fields { jid = is_text; text = optional(is_text) }));
		});
		failed = optional(map_of(is_string));
	};
	["user-removed"] = { forgotten = is_boolean };
};

-- What a modify brings; where nothing can be modified, modify is no answer.
local modified = {
	["stanza-check"] = fields { stanza = is_text };
	["roster-set"] = fields { item = fields { name = contact.name; groups = contact.groups } };
};

local envelope = fields { seq = optional(is_whole); age_ms = optional(is_number) };
local checks = {};
for operation, reply in pairs(replies) do checks[operation] = fields(reply); end

local function check_decision(operation, reply)
	if reply.verdict == "modify" then
		local check = modified[operation];
		if not check or not check(reply) then return nil, "bad-reply", "modify without what it modifies"; end
	end
	if not scopes[reply.scope] then reply.scope = "none"; end
	if reply.reason then reply.reason = reply.reason:gsub("%c", " "); end
	local err = reply.error;
	if err then
		-- A deny with an error that nobody knows is still a deny: what is unknown gets its default.
		if not error_types[err.type] then err.type = nil; end
		if not conditions[err.condition] then err.condition = nil; end
	end
	return reply;
end

local function check(operation, reply, id)
	if not is_map(reply) then return nil, "bad-reply", "it is no map"; end
	if reply.v ~= 1 then return nil, "bad-reply", "another version"; end
	-- A worker that cannot read a request cannot repeat its id. What it says then must not be lost: a sender who managed
	-- to make his own check unreadable would otherwise get the fallback.
	local is_unreadable = reply.id == "" and reply.failure ~= nil;
	if reply.id ~= id and not is_unreadable then return nil, "bad-reply", "another id"; end
	if reply.failure ~= nil then
		if type(reply.failure) == "string" and failures[reply.failure] then
			return nil, reply.failure, type(reply.text) == "string" and reply.text or nil;
		end
		return nil, "bad-reply", "an unknown failure";
	end
	for _, checked in ipairs { envelope, checks[operation] } do
		local ok, field = checked(reply);
		if not ok then return nil, "bad-reply", "wrong or missing: "..(field or "?"); end
	end
	if replies[operation] == decision then return check_decision(operation, reply); end
	return reply;
end

return { check = check; operations = checks };
