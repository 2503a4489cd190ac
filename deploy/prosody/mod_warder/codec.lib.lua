-- Payloads: a request to bytes, hostile bytes to a map or to nothing. Knows encodings, no operation.
-- Needs no Prosody for MessagePack; JSON is Prosody's.
--
-- codec.encode(map, "messagepack" | "json") -> bytes        raises on what has no form
-- codec.decode(bytes) -> map, or nil, "bad-reply", detail   never raises; the first byte tells the encoding
-- codec.default: the encoding that this Lua can do
-- codec.list, codec.map, codec.is_list, codec.is_map        as in messagepack.lib.lua, for both encodings

local messagepack = module:require "messagepack";

local type, pairs, ipairs, pcall, require, getmetatable, tostring = type, pairs, ipairs, pcall, require, getmetatable, tostring;

local max_bytes = 4 * 1024 * 1024;
local max_depth = 32;

-- Loaded when first needed: a process that speaks MessagePack only does without.
local function load_json()
	return require "util.json", getmetatable(require "util.array"());
end

-- Prosody's encoder knows a list by util.array's metatable.
local function to_json(value, array_mt)
	if messagepack.is_null(value) then
		return require "util.json".null;
	elseif type(value) ~= "table" then
		return value;
	end
	local copy = {};
	for key, item in pairs(value) do copy[key] = to_json(item, array_mt); end
	return messagepack.is_list(value) and setmetatable(copy, array_mt) or copy;
end

local function from_json(value, json, array_mt, depth)
	if value == json.null then
		return nil;
	elseif type(value) == "number" then
		return math.tointeger and math.tointeger(value) or value;
	elseif type(value) ~= "table" then
		return value;
	elseif depth >= max_depth then
		error("nested more than "..max_depth.." deep", 0);
	end
	if getmetatable(value) == array_mt then
		local list = messagepack.list({});
		for i, item in ipairs(value) do
			item = from_json(item, json, array_mt, depth + 1);
			if item == nil then item = messagepack.null; end
			list[i] = item;
		end
		return list;
	end
	local map = messagepack.map({});
	for key, item in pairs(value) do
		if type(key) ~= "string" then error("a key is not a string", 0); end
		map[key] = from_json(item, json, array_mt, depth + 1);
	end
	return map;
end

-- The decoder recurses into brackets before anything can be counted, so they are counted first.
local function nesting(text)
	local depth, deepest = 0, 0;
	for bracket in text:gsub("\\.", ""):gsub('"[^"]*"', ""):gmatch("[%[%]{}]") do
		depth = depth + ((bracket == "[" or bracket == "{") and 1 or -1);
		if depth > deepest then deepest = depth; end
	end
	return deepest;
end

local function decode_json(bytes)
	local json, array_mt = load_json();
	if nesting(bytes) > max_depth then error("nested more than "..max_depth.." deep", 0); end
	if utf8 and not utf8.len(bytes) then error("invalid UTF-8", 0); end
	local value, err = json.decode(bytes);
	if value == nil then error(err or "not JSON", 0); end
	return from_json(value, json, array_mt, 0);
end

local function encode(value, encoding)
	if encoding == "json" then
		local json, array_mt = load_json();
		return json.encode(to_json(value, array_mt));
	end
	return messagepack.encode(value);
end

local function decode(bytes)
	if type(bytes) ~= "string" or bytes == "" then return nil, "bad-reply", "empty"; end
	if #bytes > max_bytes then return nil, "bad-reply", "over "..max_bytes.." bytes"; end
	local value, detail;
	if bytes:find("^[ \t\r\n{]") then
		local ok, result = pcall(decode_json, bytes);
		if ok then
			value = result;
		else
			detail = tostring(result);
		end
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
