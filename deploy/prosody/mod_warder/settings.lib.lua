-- The options of one host: every one with its default, checked, so that nobody else reads the configuration.
-- An option that makes no sense is reported with what would be right, and its default is used: a module that refused to
-- load would let everything pass.
--
-- local settings = module:require "settings".read();

local array = require "util.array";
local configmanager = require "core.configmanager";
local it = require "util.iterators";
local codec = module:require "codec";
local have_pposix, pposix = pcall(require, "util.pposix");

local checks = { "stanza-check", "join-check", "session-check", "user-removed" };
local operations = {
	"stanza-check", "join-check", "session-check", "roster-refresh", "roster-set", "roster-subscription", "user-removed",
};
local hooks = { "send", "route", "local", "receive", "offline" };
local kinds = { "message", "presence", "iq" };
local fallbacks = { "allow", "deny", "defer", "drop" };
local roster_fallbacks = { "last-known", "error" };
-- Whoever changes a roster is told how it went.
local change_fallbacks = { "allow", "deny", "defer" };
local sides = { "local", "remote" };

local default_seconds = {
	["stanza-check"] = 0.25;
	["join-check"] = 1;
	["session-check"] = 1;
	["roster-refresh"] = 5;
	["roster-set"] = 1;
	["roster-subscription"] = 1;
	["user-removed"] = 5;
};

local default_fallback = {
	["stanza-check"] = { ["local"] = "allow", remote = "allow" };
	["join-check"] = { ["local"] = "deny", remote = "deny" };
	["session-check"] = { ["local"] = "allow", remote = "allow" };
	["roster-refresh"] = { ["local"] = "last-known", remote = "last-known" };
	["roster-set"] = { ["local"] = "defer", remote = "defer" };
	["roster-subscription"] = { ["local"] = "defer", remote = "defer" };
};

local fallbacks_of = {
	["roster-refresh"] = roster_fallbacks, ["roster-set"] = change_fallbacks, ["roster-subscription"] = change_fallbacks,
};

local default_hooks = { "send", "route" };
local default_kinds = { "message" };

local known = {
	warder_checks = true, warder_stanza_hooks = true, warder_stanza_kinds = true, warder_timeouts = true,
	warder_fallback = true, warder_notify = true, warder_roster = true, warder_server_name = true,
	warder_subject_prefix = true, warder_encoding = true, warder_max_stanza_size = true,
	warder_near_cache = true, warder_near_cache_entries = true, warder_staleness_bound = true,
	warder_roster_delimiter = true, warder_push_paths = true, warder_push_token = true,
	-- Read by connection.lib.lua.
	warder_nats_url = true, warder_nats_name = true, warder_nats_inbox = true, warder_nats_user = true,
	warder_nats_password = true, warder_nats_token = true, warder_nats_tls = true, warder_nats_ping_interval = true,
	warder_nats_connect_timeout = true, warder_nats_reconnect_max = true,
};

-- Messages of an operator's mistakes, each with what would be right.
local function complain(name, problem, ...)
	module:log("error", "%s: "..problem, name, ...);
end

local function one_of(words)
	return table.concat(words, ", ");
end

local function contains(list, value)
	for _, item in ipairs(list) do
		if item == value then return true; end
	end
	return false;
end

-- A list of words as a set of them.
local function read_words(name, allowed, default)
	local words = {};
	for _, word in ipairs(module:get_option_array(name, default)) do
		if contains(allowed, word) then
			words[word] = true;
		else
			complain(name, "\"%s\" is none of %s; left out", tostring(word), one_of(allowed));
		end
	end
	return words;
end

local function read_boolean(name, default)
	local value = module:get_option(name, default);
	if type(value) ~= "boolean" then
		complain(name, "%s should be true or false; %s is used", tostring(value), tostring(default));
		return default;
	end
	return value;
end

local function read_string(name, default, is_right, right)
	local value = module:get_option(name, default);
	if type(value) ~= "string" or not is_right(value) then
		complain(name, "%s should be %s; %s is used", tostring(value), right, default);
		return default;
	end
	return value;
end

-- Nil when it is not set. What it says wrongly is not shown: it may be a secret.
local function read_optional_string(name, is_right, right)
	local value = module:get_option(name);
	if value ~= nil and (type(value) ~= "string" or not is_right(value)) then
		complain(name, "it should be %s; it is left out", right);
		return nil;
	end
	return value;
end

local function read_table(name)
	local value = module:get_option(name, {});
	if type(value) ~= "table" then
		complain(name, "%s should be a table by operation; the defaults are used", tostring(value));
		return {};
	end
	for operation in pairs(value) do
		if not contains(operations, operation) then
			complain(name, "\"%s\" is no operation; the operations are %s", tostring(operation), one_of(operations));
		end
	end
	return value;
end

-- Seconds in the configuration, as Prosody's options are; milliseconds on the wire.
local function read_budgets()
	local given, budgets = read_table("warder_timeouts"), {};
	for operation, seconds in pairs(default_seconds) do
		local value = given[operation];
		if value ~= nil and (type(value) ~= "number" or not (value > 0 and value <= 60)) then
			complain("warder_timeouts", "%s: %s should be seconds, more than 0 and at most 60; %s is used",
				operation, tostring(value), tostring(seconds));
			value = nil;
		end
		budgets[operation] = math.ceil((value or seconds) * 1000);
	end
	return budgets;
end

-- Each a word for everybody, or a table with a word for local and one for remote senders.
local function read_fallbacks()
	local given, result = read_table("warder_fallback"), {};
	for operation, default in pairs(default_fallback) do
		local allowed = fallbacks_of[operation] or fallbacks;
		local value = given[operation];
		if type(value) == "string" then
			value = { ["local"] = value, remote = value };
		elseif value == nil then
			value = {};
		elseif type(value) ~= "table" then
			complain("warder_fallback", "%s: %s should be one of %s, or { [\"local\"] = ..., remote = ... }; the default is used",
				operation, tostring(value), one_of(allowed));
			value = {};
		end
		for side in pairs(value) do
			if not contains(sides, side) then
				complain("warder_fallback", "%s: \"%s\" is neither local nor remote", operation, tostring(side));
			end
		end
		result[operation] = {};
		for _, side in ipairs(sides) do
			local word = value[side];
			if word ~= nil and not contains(allowed, word) then
				complain("warder_fallback", "%s, %s: %s is none of %s; %s is used",
					operation, side, tostring(word), one_of(allowed), default[side]);
				word = nil;
			end
			result[operation][side] = word or default[side];
		end
	end
	if given["user-removed"] ~= nil then
		complain("warder_fallback", "user-removed has no fallback: nobody waits for its answer");
	end
	return result;
end

local function read_size()
	local default = 64 * 1024;
	local value = module:get_option("warder_max_stanza_size", default);
	if type(value) ~= "number" or value < 0 or value ~= math.floor(value) then
		complain("warder_max_stanza_size", "%s should be a whole number of bytes; %d is used", tostring(value), default);
		return default;
	end
	return value;
end

-- What the hosts of a process share cannot be different for one of them.
local function read_shared_number(name, default, is_right, right)
	local value = configmanager.get("*", name);
	if module:get_option(name) ~= value then
		complain(name, "all hosts share one near cache, so this belongs in the global section; left out for %s", module.host);
	end
	if value == nil then return default; end
	if type(value) ~= "number" or not is_right(value) then
		complain(name, "%s should be %s; %s is used", tostring(value), right, tostring(default));
		return default;
	end
	return value;
end

local function is_count(value)
	return value >= 0 and value <= 1e7 and value == math.floor(value);
end

local function is_bound(value)
	return value >= 0.2 and value <= 60;
end

local function is_name(text)
	return #text > 0 and #text <= 256 and not text:find("%c");
end

-- Tokens joined by dots, without wildcards and white space.
local function is_subject(text)
	return not ("."..text.."."):find("%.%.") and not text:find("[%s%c*>]");
end

-- RFC 6750, section 2.1.
local function is_token(text)
	return text:find("^[%w%-._~+/]+=*$") ~= nil;
end

local function is_delimiter(text)
	return #text > 0 and #text <= 64 and not text:find("%c");
end

local function is_encoding(text)
	return text == "messagepack" or text == "json";
end

local function report_unknown_names()
	local config = configmanager.getconfig and configmanager.getconfig() or {};
	for _, section in ipairs({ "*", module.host }) do
		for name in it.sorted_pairs(config[section] or {}) do
			if type(name) == "string" and name:find("^warder_") and not known[name] then
				complain(name, "no such option; the options are %s", one_of(array.collect(it.keys(known)):sort()));
			end
		end
	end
end

local function node_name()
	return have_pposix and pposix.uname and pposix.uname().nodename or module.host;
end

local function read()
	report_unknown_names();
	return {
		checks = read_words("warder_checks", checks, checks);
		hooks = read_words("warder_stanza_hooks", hooks, default_hooks);
		kinds = read_words("warder_stanza_kinds", kinds, default_kinds);
		budgets_ms = read_budgets();
		fallback = read_fallbacks();
		notify = read_boolean("warder_notify", false);
		roster = read_boolean("warder_roster", false);
		roster_delimiter = read_optional_string("warder_roster_delimiter", is_delimiter, "a text of at most 64 characters");
		push_paths = read_boolean("warder_push_paths", false);
		push_token = read_optional_string("warder_push_token", is_token, "letters, digits and any of -._~+/ and =");
		server = read_string("warder_server_name", node_name(), is_name, "a name of at most 256 characters");
		prefix = read_string("warder_subject_prefix", "xmpp.policy.v1", is_subject, "a NATS subject without wildcards");
		encoding = read_string("warder_encoding", codec.default, is_encoding, "messagepack or json");
		max_stanza_bytes = read_size();
		near_cache = read_boolean("warder_near_cache", true);
		near_cache_entries = read_shared_number("warder_near_cache_entries", 50000, is_count,
			"a whole number of decisions up to ten million, 0 for none");
		staleness_bound = read_shared_number("warder_staleness_bound", 2, is_bound, "seconds, at least 0.2 and at most 60");
	};
end

return { read = read };
