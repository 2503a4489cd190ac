-- The one NATS connection that all hosts of this Prosody process share. Reads the global options warder_nats_*.
--
-- local connection = module:require "connection";
-- local client, release = connection.acquire();   -- client as in nats.lib.lua; nil when the options make no sense (see the log)
-- function module.unload() release(); end         -- any number of times; the last host's release closes the connection
--
-- A reload keeps the connection: it is closed a second after the last release, unless acquired again meanwhile.
-- Options, all in the global section (a host that sets others gets the connection that is there, and an error in the log):
--   warder_nats_url ("nats://127.0.0.1:4222"; string with commas, or list), warder_nats_name, warder_nats_inbox,
--   warder_nats_user, warder_nats_password, warder_nats_token,
--   warder_nats_tls (true, or { ca_file, cert_file, key_file, hostname }; paths from the configuration's folder),
--   warder_nats_ping_interval, warder_nats_connect_timeout, warder_nats_reconnect_max (seconds)

local nats = module:require "nats";
local config = require "core.configmanager";
local resolve_path = require "util.paths".resolve_relative_path;
local timer = require "util.timer";

-- Outlives this host's module: a table by the name of no host, held by the connection's own callbacks while it is open.
local shared = module:shared("/*/warder/connection");

-- A reload unloads the module before it loads it again.
local linger = 1;

local tls_keys = { ca_file = true, cert_file = true, key_file = true, hostname = true };

local function config_path(path)
	return path and resolve_path(prosody.paths.config or ".", path);
end

-- A misspelt ca_file must not come to mean that any authority will do.
local function read_tls()
	local given = module:get_option("warder_nats_tls");
	if given == nil or given == false then return nil; end
	if given == true then return {}; end
	if type(given) ~= "table" then return nil, "warder_nats_tls must be true or a table"; end
	for key, value in pairs(given) do
		if not tls_keys[key] then
			return nil, ("warder_nats_tls knows no %s; it takes ca_file, cert_file, key_file and hostname"):format(tostring(key));
		elseif type(value) ~= "string" then
			return nil, ("%s in warder_nats_tls must be a string"):format(key);
		end
	end
	if (given.cert_file == nil) ~= (given.key_file == nil) then
		return nil, "warder_nats_tls needs cert_file and key_file together";
	end
	return {
		ca_file = config_path(given.ca_file); cert_file = config_path(given.cert_file); key_file = config_path(given.key_file);
		hostname = given.hostname;
	};
end

local function read_options()
	local tls, err = read_tls();
	if err then return nil, err; end
	return {
		servers = module:get_option("warder_nats_url", "nats://127.0.0.1:4222");
		name = module:get_option_string("warder_nats_name");
		inbox = module:get_option_string("warder_nats_inbox");
		user = module:get_option_string("warder_nats_user");
		password = module:get_option_string("warder_nats_password");
		token = module:get_option_string("warder_nats_token");
		tls = tls;
		ping_interval = module:get_option_number("warder_nats_ping_interval");
		connect_timeout = module:get_option_number("warder_nats_connect_timeout");
		reconnect_max = module:get_option_number("warder_nats_reconnect_max");
	};
end

-- Two tables of options as one text each, so that they can be compared.
local function fingerprint(value)
	if type(value) ~= "table" then return ("%q"):format(tostring(value)); end
	local lines = {};
	for key, item in pairs(value) do
		lines[#lines + 1] = tostring(key).."="..fingerprint(item);
	end
	table.sort(lines);
	return "{"..table.concat(lines, ";").."}";
end

local function close()
	local client, stopping = shared.client, shared.on_stopping;
	shared.client, shared.fingerprint, shared.opened_by, shared.on_stopping = nil, nil, nil, nil;
	prosody.events.remove_handler("server-stopping", stopping);
	client:close();
end

local function open(options, print)
	local client, err = nats.connect(options);
	if not client then return nil, err; end
	shared.client, shared.fingerprint, shared.opened_by = client, print, module.host;
	-- Prosody would wait for a connection that keeps coming back. Sessions have been told to close before (-100).
	shared.on_stopping = function () if shared.client == client then close(); end end;
	prosody.events.add_handler("server-stopping", shared.on_stopping, -200);
	return client;
end

local function new_release()
	local released = false;
	local holder = {};
	shared.holders[holder] = module.host;
	return function ()
		if released then return; end
		released = true;
		shared.holders[holder] = nil;
		if next(shared.holders) ~= nil then return; end
		timer.add_task(linger, function ()
			if shared.client and next(shared.holders) == nil then close(); end
		end);
	end;
end

local function refuse(err)
	module:log("error", "The warder_nats_ options make no sense, so nothing can be asked: %s", err);
	return nil;
end

local function acquire()
	shared.holders = shared.holders or {};
	local options, err = read_options();
	if not options then return refuse(err); end
	local print = fingerprint(options);
	if shared.client and shared.fingerprint ~= print then
		if next(shared.holders) == nil then
			close(); -- the options were changed and the module reloaded
		else
			module:log("error", "%s and %s have different warder_nats_ options, but a Prosody has one connection to NATS: "
				.."%s uses that of %s. Put these options into the global section of the configuration, and restart Prosody.",
				shared.opened_by, module.host, module.host, shared.opened_by);
		end
	end
	if not shared.client then
		for _, name in ipairs { "url", "user", "password", "token", "tls" } do
			name = "warder_nats_"..name;
			if module.host ~= "*" and config.get("*", name) ~= module:get_option(name) then
				module:log("warn", "%s is set for %s alone; all hosts share one connection, so it belongs in the global section",
					name, module.host);
			end
		end
		local client;
		client, err = open(options, print);
		if not client then return refuse(err); end
	end
	return shared.client, new_release();
end

return { acquire = acquire };
