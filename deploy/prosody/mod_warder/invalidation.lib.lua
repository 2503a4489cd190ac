-- What is published when something has changed, read as the workers read it. Plain Lua; what takes JIDs, bytes and hashes
-- apart is passed in. Invalidating too much is always right: what cannot be read, names nothing, names several things or
-- a JID without normal form counts as everything.
--
-- local invalidation = module:require "invalidation";
-- local decode = invalidation.new_decoder { decode = codec.decode, split = require "util.jid".prepped_split };
-- decode(payload) -> change as in stamps.lib.lua, or nil for a tick      never raises
-- invalidation.sequence_of(headers, stream_name) -> number, or nil when it is not from that stream
--     headers: name -> list of values in order, as nats_protocol.lib.lua gives them
-- invalidation.stream_name(prefix, sha256) -> name of the stream for a subject prefix      sha256(text) -> hex

local last_header = module:require "nats_protocol".last_header;

local pairs, ipairs, pcall, type, tonumber = pairs, ipairs, pcall, type, tonumber;

local default_prefix = "xmpp.policy.v1";
local default_stream = "WARDER_INVALIDATIONS";
-- What numbers every Lua and every worker holds exactly.
local max_sequence = 2 ^ 53 - 1;

local scopes = { "user", "room", "domain", "operation", "all", "tick" };

local operations = {};
for name in ([[stanza-check join-check session-check roster-refresh roster-set roster-subscription user-removed]]):gmatch("%S+") do
	operations[name] = true;
end

-- JSON decoders keep one of two equal keys and do not tell.
local function has_more_keys(payload, map)
	if not payload:find("^[ \t\r\n{]") then return false; end
	local written, read = select(2, payload:gsub('"[ \t\r\n]*:', "")), 0;
	for _ in pairs(map) do read = read + 1; end
	return written ~= read;
end

local function change_of(scope, value, split)
	if type(value) ~= "string" then return nil; end
	if scope == "operation" then return operations[value] and { operation = value } or nil; end
	if scope ~= "user" and scope ~= "room" and scope ~= "domain" then return nil; end
	local ok, node, host, resource = pcall(split, value);
	if not ok or not host or resource then return nil; end
	if scope ~= "domain" then return { [scope] = node and node.."@"..host or host }; end
	return not node and { domain = host } or nil;
end

local function new_decoder(options)
	local decode, split = options.decode, options.split;
	return function (payload)
		local ok, map = pcall(decode, payload);
		if not ok or not map or has_more_keys(payload, map) then return { all = true }; end
		local named;
		for _, scope in ipairs(scopes) do
			local value = map[scope];
			if value ~= nil and value ~= false then
				if named then return { all = true }; end
				named = scope;
			end
		end
		if map.v ~= 1 or not named then return { all = true }; end
		if named == "tick" then return nil; end
		return change_of(named, map[named], split) or { all = true };
	end;
end

-- A publisher can forge headers; the broker's own stand last.
local function sequence_of(headers, stream_name)
	local sequence = last_header(headers, "Nats-Sequence");
	if last_header(headers, "Nats-Stream") ~= stream_name or not sequence or not sequence:find("^%d+$") then return nil; end
	sequence = tonumber(sequence);
	return sequence > 0 and sequence <= max_sequence and sequence or nil;
end

-- One stream may not have two names, and two may not capture one subject: the prefix makes the name.
local function stream_name(prefix, sha256)
	if prefix == default_prefix then return default_stream; end
	return default_stream.."_"..prefix:gsub("[^A-Za-z0-9]", "_").."_"..sha256(prefix):sub(1, 8);
end

return { new_decoder = new_decoder; sequence_of = sequence_of; stream_name = stream_name };
