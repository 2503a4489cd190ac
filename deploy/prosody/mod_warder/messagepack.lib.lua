-- MessagePack as the wire uses it: string keys, no extension types, bounded depth. Plain Lua 5.3 or later, no Prosody.
--
-- Written here, since the only packaged library is not installed where Prosody's Lua finds it (Debian's lua-messagepack
-- has no file for Lua 5.4), recurses as deep as a peer likes and takes duplicate keys and invalid UTF-8.
--
-- messagepack.encode(value) -> bytes            raises on what has no form: functions, cycles, keys that are no strings
-- messagepack.decode(bytes) -> value, or nil, text        one value and nothing after it; never raises
-- messagepack.list(table), messagepack.map(table) -> table, marked as what it is when it is empty
-- messagepack.is_list(value), messagepack.is_map(value), messagepack.is_null(value)
-- messagepack.check_key(key, seen)       raises for a key that no map may have, or not again; for other decoders too
-- An empty table without mark is a list. nil is an absent key, and messagepack.null within a list.

local type, pairs, ipairs, next, pcall, error = type, pairs, ipairs, next, pcall, error;
local setmetatable, getmetatable, tostring = setmetatable, getmetatable, tostring;
local pack, unpack, char, byte, sub = string.pack, string.unpack, string.char, string.byte, string.sub;
local concat = table.concat;
local math_type, tointeger = math.type, math.tointeger;
local utf8_length = utf8 and utf8.len;

local max_depth = 32;

-- Told by name and not by identity: Prosody loads a library anew for everyone who requires it.
local list_name, map_name, null_name, binary_name = "list on the wire", "map on the wire", "null on the wire", "binary data";
local list_mt, map_mt = { __name = list_name }, { __name = map_name };
local null = setmetatable({}, { __name = null_name });
-- Binary data: the wire has no field for it, so that it only has to be told from a string.
local binary = setmetatable({}, { __name = binary_name });

local function mark(value)
	local mt = getmetatable(value);
	return mt and mt.__name;
end

local function list(t) return setmetatable(t, list_mt); end
local function map(t) return setmetatable(t, map_mt); end

local function is_null(value) return type(value) == "table" and mark(value) == null_name; end

local function is_list(value)
	if type(value) ~= "table" then return false; end
	local marked = mark(value);
	if marked == list_name then return true; end
	return marked ~= map_name and marked ~= null_name and marked ~= binary_name and (value[1] ~= nil or next(value) == nil);
end

local function is_map(value)
	if type(value) ~= "table" then return false; end
	local marked = mark(value);
	return marked == map_name or marked ~= null_name and marked ~= binary_name and not is_list(value);
end

local function encode_head(short, short_max, code16, n)
	if n <= short_max then
		return char(short + n);
	elseif n <= 0xFFFF then
		return pack(">BI2", code16, n);
	end
	return pack(">BI4", code16 + 1, n);
end

local function encode_string(s)
	local n = #s;
	if n <= 31 then
		return char(0xA0 + n)..s;
	elseif n <= 0xFF then
		return "\xD9"..pack(">s1", s);
	elseif n <= 0xFFFF then
		return "\xDA"..pack(">s2", s);
	end
	return "\xDB"..pack(">s4", s);
end

local function encode_number(n)
	local whole = math_type(n) == "integer" and n or tointeger(n);
	if not whole then
		return pack(">Bd", 0xCB, n);
	elseif whole >= 0 then
		if whole <= 0x7F then return char(whole);
		elseif whole <= 0xFF then return char(0xCC, whole);
		elseif whole <= 0xFFFF then return pack(">BI2", 0xCD, whole);
		elseif whole <= 0xFFFFFFFF then return pack(">BI4", 0xCE, whole);
		end
		return pack(">BI8", 0xCF, whole);
	elseif whole >= -0x20 then return char(0x100 + whole);
	elseif whole >= -0x80 then return pack(">Bi1", 0xD0, whole);
	elseif whole >= -0x8000 then return pack(">Bi2", 0xD1, whole);
	elseif whole >= -0x80000000 then return pack(">Bi4", 0xD2, whole);
	end
	return pack(">Bi8", 0xD3, whole);
end

local encode_value;

local function encode_list(value, buffer, depth)
	local count = 0;
	for _ in pairs(value) do count = count + 1; end
	buffer[#buffer + 1] = encode_head(0x90, 15, 0xDC, count);
	for _, item in ipairs(value) do
		encode_value(item, buffer, depth);
		count = count - 1;
	end
	if count ~= 0 then error("a list has keys or holes"); end
end

local function encode_map(value, buffer, depth)
	local n = 0;
	for _ in pairs(value) do n = n + 1; end
	buffer[#buffer + 1] = encode_head(0x80, 15, 0xDE, n);
	for key, item in pairs(value) do
		if type(key) ~= "string" then error("a key must be a string, not a "..type(key)); end
		buffer[#buffer + 1] = encode_string(key);
		encode_value(item, buffer, depth);
	end
end

function encode_value(value, buffer, depth)
	local kind = type(value);
	if kind == "string" then
		buffer[#buffer + 1] = encode_string(value);
	elseif kind == "number" then
		buffer[#buffer + 1] = encode_number(value);
	elseif kind == "boolean" then
		buffer[#buffer + 1] = value and "\xC3" or "\xC2";
	elseif value == nil or is_null(value) then
		buffer[#buffer + 1] = "\xC0";
	elseif kind ~= "table" or mark(value) == binary_name then
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

local decode_value;

local function decode_string(bytes, at, n)
	local last = at + n - 1;
	if last > #bytes then error("truncated", 0); end
	local s = sub(bytes, at, last);
	-- A string that is no UTF-8 would end the stream of the client that it is sent to.
	if s:find("[\x80-\xFF]") and not utf8_length(s) then error("invalid UTF-8", 0); end
	return s, last + 1;
end

local function decode_list(bytes, at, n, depth)
	-- Each item takes a byte at least: a declared length is never believed beyond what is there.
	if n > #bytes - at + 1 then error("truncated", 0); end
	if depth >= max_depth then error("nested more than "..max_depth.." deep", 0); end
	local t = setmetatable({}, list_mt);
	for i = 1, n do
		local item;
		item, at = decode_value(bytes, at, depth + 1);
		if item == nil then item = null; end
		t[i] = item;
	end
	return t, at;
end

-- __proto__ is a key like another here, and a weapon on the other side of the wire, where it is refused too.
local function check_key(key, seen)
	if type(key) ~= "string" then error("a key is not a string", 0); end
	if seen[key] then error("a map has a key twice", 0); end
	if key == "__proto__" then error("a key is __proto__", 0); end
	seen[key] = true;
end

local function decode_map(bytes, at, n, depth)
	if 2 * n > #bytes - at + 1 then error("truncated", 0); end
	if depth >= max_depth then error("nested more than "..max_depth.." deep", 0); end
	local t, seen = setmetatable({}, map_mt), {};
	for _ = 1, n do
		local key, item;
		key, at = decode_value(bytes, at, depth + 1);
		check_key(key, seen);
		item, at = decode_value(bytes, at, depth + 1);
		t[key] = item;
	end
	return t, at;
end

local function need(bytes, at, n)
	if at + n - 1 > #bytes then error("truncated", 0); end
end

local function fixed(format, size)
	return function (bytes, at)
		need(bytes, at, size);
		return unpack(format, bytes, at);
	end
end

local function sized(format, size, decoder)
	return function (bytes, at, depth)
		need(bytes, at, size);
		local n, start = unpack(format, bytes, at);
		return decoder(bytes, start, n, depth);
	end
end

local function decode_binary(bytes, at, n)
	need(bytes, at, n);
	return binary, at + n;
end

-- Whole numbers come as floats from encoders without integers.
local function decode_float(format, size)
	local read = fixed(format, size);
	return function (bytes, at)
		local n, following = read(bytes, at);
		return tointeger(n) or n, following;
	end
end

local decode_unsigned = fixed(">I8", 8);

local decoders = {
	[0xC0] = function (_, at) return nil, at; end;
	[0xC2] = function (_, at) return false, at; end;
	[0xC3] = function (_, at) return true, at; end;
	[0xC4] = sized(">I1", 1, decode_binary);
	[0xC5] = sized(">I2", 2, decode_binary);
	[0xC6] = sized(">I4", 4, decode_binary);
	[0xCA] = decode_float(">f", 4);
	[0xCB] = decode_float(">d", 8);
	[0xCC] = fixed(">I1", 1);
	[0xCD] = fixed(">I2", 2);
	[0xCE] = fixed(">I4", 4);
	[0xCF] = function (bytes, at)
		local n, following = decode_unsigned(bytes, at);
		if n < 0 then n = n + 2.0 ^ 64; end
		return n, following;
	end;
	[0xD0] = fixed(">i1", 1);
	[0xD1] = fixed(">i2", 2);
	[0xD2] = fixed(">i4", 4);
	[0xD3] = fixed(">i8", 8);
	[0xD9] = sized(">I1", 1, decode_string);
	[0xDA] = sized(">I2", 2, decode_string);
	[0xDB] = sized(">I4", 4, decode_string);
	[0xDC] = sized(">I2", 2, decode_list);
	[0xDD] = sized(">I4", 4, decode_list);
	[0xDE] = sized(">I2", 2, decode_map);
	[0xDF] = sized(">I4", 4, decode_map);
};

function decode_value(bytes, at, depth)
	local code = byte(bytes, at);
	if not code then error("truncated", 0); end
	at = at + 1;
	if code <= 0x7F then
		return code, at;
	elseif code <= 0x8F then
		return decode_map(bytes, at, code - 0x80, depth);
	elseif code <= 0x9F then
		return decode_list(bytes, at, code - 0x90, depth);
	elseif code <= 0xBF then
		return decode_string(bytes, at, code - 0xA0);
	elseif code >= 0xE0 then
		return code - 0x100, at;
	end
	local decoder = decoders[code];
	if not decoder then error("extension types are not allowed", 0); end
	return decoder(bytes, at, depth);
end

local function decode(bytes)
	if type(bytes) ~= "string" then return nil, "no bytes"; end
	local ok, value, following = pcall(decode_value, bytes, 1, 0);
	if not ok then return nil, tostring(value); end
	if following ~= #bytes + 1 then return nil, "bytes left over"; end
	return value;
end

return {
	-- Before Lua 5.3 there is nothing to pack integers with.
	available = pack ~= nil and tointeger ~= nil and utf8_length ~= nil;
	encode = encode;
	decode = decode;
	list = list;
	map = map;
	is_list = is_list;
	is_map = is_map;
	is_null = is_null;
	check_key = check_key;
	null = null;
};
