-- JSON as the wire uses it: strict, bounded depth, lists and maps marked as in messagepack.lib.lua. Plain Lua, no Prosody.
--
-- Prosody's own decoder takes trailing commas, keys that come twice and text of any depth, and gives __array and __hash a
-- meaning of their own: fine for what one wrote oneself, not for what others send.
--
-- json.encode(value) -> text              raises on what has no form
-- json.decode(text) -> value, or nil, reason    one value, white space around it; null within a list is messagepack.null, else absent

local messagepack = module:require "messagepack";

local type, pairs, ipairs, pcall, error, tostring, tonumber = type, pairs, ipairs, pcall, error, tostring, tonumber;
local char, sub, find, match, byte = string.char, string.sub, string.find, string.match, string.byte;
local concat = table.concat;
local huge, floor = math.huge, math.floor;
-- Without them (before Lua 5.3) a number is whole by its value and text is taken as it is.
local tointeger = math.tointeger or function () end;
local utf8_length = utf8 and utf8.len;

local max_depth = 32;
local is_list, is_null = messagepack.is_list, messagepack.is_null;

local escapes = {
	['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
};
for code = 0, 31 do
	local c = char(code);
	escapes[c] = escapes[c] or ("\\u%04x"):format(code);
end

local function encode_string(s)
	return '"'..s:gsub('[%c"\\]', escapes)..'"';
end

local function encode_number(n)
	if n ~= n or n == huge or n == -huge then error("cannot encode "..tostring(n)); end
	return floor(n) == n and n > -2 ^ 53 and n < 2 ^ 53 and ("%.0f"):format(n) or ("%.17g"):format(n);
end

local encode_value;

local function encode_list(list, buffer, depth)
	local count = 0;
	for _ in pairs(list) do count = count + 1; end
	buffer[#buffer + 1] = "[";
	for i, item in ipairs(list) do
		if i > 1 then buffer[#buffer + 1] = ","; end
		encode_value(item, buffer, depth);
		count = count - 1;
	end
	if count ~= 0 then error("a list has keys or holes"); end
	buffer[#buffer + 1] = "]";
end

local function encode_map(map, buffer, depth)
	local separator = "{";
	for key, item in pairs(map) do
		if type(key) ~= "string" then error("a key must be a string, not a "..type(key)); end
		buffer[#buffer + 1] = separator..encode_string(key)..":";
		encode_value(item, buffer, depth);
		separator = ",";
	end
	buffer[#buffer + 1] = separator == "{" and "{}" or "}";
end

function encode_value(value, buffer, depth)
	local kind = type(value);
	if kind == "string" then
		buffer[#buffer + 1] = encode_string(value);
	elseif kind == "number" then
		buffer[#buffer + 1] = encode_number(value);
	elseif kind == "boolean" then
		buffer[#buffer + 1] = tostring(value);
	elseif value == nil or is_null(value) then
		buffer[#buffer + 1] = "null";
	elseif kind ~= "table" then
		error("cannot encode a "..kind);
	elseif depth >= max_depth then
		error("nested more than "..max_depth.." deep");
	elseif is_list(value) then
		encode_list(value, buffer, depth + 1);
	else
		encode_map(value, buffer, depth + 1);
	end
end

local function encode(value)
	local buffer = {};
	encode_value(value, buffer, 0);
	return concat(buffer);
end

local function skip_space(text, at)
	return find(text, "[^ \t\r\n]", at) or #text + 1;
end

local function to_utf8(code)
	if code < 0x80 then
		return char(code);
	elseif code < 0x800 then
		return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40);
	elseif code < 0x10000 then
		return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40);
	end
	return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40);
end

local unescapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" };

-- One escape that begins at its backslash.
local function decode_escape(text, at)
	local plain = unescapes[sub(text, at + 1, at + 1)];
	if plain then return plain, at + 2; end
	local code = tonumber(match(text, "^u(%x%x%x%x)", at + 1) or "", 16);
	if not code then error("an escape that is none", 0); end
	if code < 0xD800 or code > 0xDFFF then return to_utf8(code), at + 6; end
	local low = tonumber(match(text, "^\\u(%x%x%x%x)", at + 6) or "", 16);
	if code > 0xDBFF or not low or low < 0xDC00 or low > 0xDFFF then error("half a surrogate pair", 0); end
	return to_utf8(0x10000 + (code - 0xD800) * 0x400 + low - 0xDC00), at + 12;
end

local function decode_string(text, at)
	local parts = {};
	at = at + 1;
	while true do
		local piece, following = match(text, '^([^"\\\0-\31]*)()', at);
		local ending = byte(text, following);
		if ending == 0x22 and not parts[1] then
			return piece, following + 1;
		end
		parts[#parts + 1] = piece;
		if ending == 0x22 then
			return concat(parts), following + 1;
		elseif ending ~= 0x5C then
			error(ending and "a control character in a string" or "truncated", 0);
		end
		parts[#parts + 1], at = decode_escape(text, following);
	end
end

local function decode_number(text, at)
	local following = match(text, "^%-?0()", at) or match(text, "^%-?[1-9]%d*()", at);
	if not following then error("not JSON", 0); end
	following = match(text, "^%.%d+()", following) or following;
	following = match(text, "^[eE][+-]?%d+()", following) or following;
	local n = tonumber(sub(text, at, following - 1));
	return tointeger(n) or n, following;
end

local decode_value;

-- What both brackets have in common: items up to the closing one, each read by read_item(at) -> at behind it.
local function decode_items(text, at, closing, depth, read_item)
	if depth >= max_depth then error("nested more than "..max_depth.." deep", 0); end
	at = skip_space(text, at + 1);
	if byte(text, at) == closing then return at + 1; end
	while true do
		at = skip_space(text, read_item(at));
		local following = byte(text, at);
		at = at + 1;
		if following == closing then return at; end
		if following ~= 0x2C then error(following and "not JSON" or "truncated", 0); end
		at = skip_space(text, at);
	end
end

local function decode_list(text, at, depth)
	local list = messagepack.list({});
	return list, decode_items(text, at, 0x5D, depth, function (start)
		local item, following = decode_value(text, start, depth + 1);
		if item == nil then item = messagepack.null; end
		list[#list + 1] = item;
		return following;
	end);
end

local function decode_map(text, at, depth)
	local map, seen = messagepack.map({}), {};
	return map, decode_items(text, at, 0x7D, depth, function (start)
		if byte(text, start) ~= 0x22 then error("a key is not a string", 0); end
		local key, following = decode_string(text, start);
		messagepack.check_key(key, seen);
		following = skip_space(text, following);
		if byte(text, following) ~= 0x3A then error("not JSON", 0); end
		map[key], following = decode_value(text, skip_space(text, following + 1), depth + 1);
		return following;
	end);
end

function decode_value(text, at, depth)
	local first = byte(text, at);
	if first == 0x7B then
		return decode_map(text, at, depth);
	elseif first == 0x5B then
		return decode_list(text, at, depth);
	elseif first == 0x22 then
		return decode_string(text, at);
	elseif match(text, "^true", at) then
		return true, at + 4;
	elseif match(text, "^false", at) then
		return false, at + 5;
	elseif match(text, "^null", at) then
		return nil, at + 4;
	elseif not first then
		error("truncated", 0);
	end
	return decode_number(text, at);
end

local function decode(text)
	if utf8_length and not utf8_length(text) then return nil, "invalid UTF-8"; end
	local ok, value, following = pcall(decode_value, text, skip_space(text, 1), 0);
	if not ok then return nil, tostring(value); end
	if skip_space(text, following) <= #text then return nil, "text left over"; end
	return value;
end

return { encode = encode, decode = decode };
