-- Payloads: a request to bytes, hostile bytes to a map or to nothing. Knows encodings, no operation; plain Lua, no Prosody.
--
-- codec.encode(map, "messagepack" | "json") -> bytes        raises on what has no form
-- codec.decode(bytes) -> map, or nil, "bad-reply", detail   never raises; the first byte tells the encoding
-- codec.default: the encoding that this Lua can do
-- codec.list, codec.map, codec.is_list, codec.is_map        as in messagepack.lib.lua, for both encodings

local json = module:require "json";
local messagepack = module:require "messagepack";

local type = type;

local max_bytes = 4 * 1024 * 1024;

local function encode(value, encoding)
	return encoding == "json" and json.encode(value) or messagepack.encode(value);
end

local function decode(bytes)
	if type(bytes) ~= "string" or bytes == "" then return nil, "bad-reply", "empty"; end
	if #bytes > max_bytes then return nil, "bad-reply", "over "..max_bytes.." bytes"; end
	local value, detail;
	if bytes:find("^[ \t\r\n{]") then
		value, detail = json.decode(bytes);
	elseif messagepack.available then
		value, detail = messagepack.decode(bytes);
	else
		detail = "MessagePack needs Lua 5.3";
	end
	if not messagepack.is_map(value) then return nil, "bad-reply", detail or "not a map"; end
	return value;
end

return {
	default = messagepack.available and "messagepack" or "json";
	encode = encode;
	decode = decode;
	list = messagepack.list;
	map = messagepack.map;
	is_list = messagepack.is_list;
	is_map = messagepack.is_map;
	null = messagepack.null;
	max_bytes = max_bytes;
};
