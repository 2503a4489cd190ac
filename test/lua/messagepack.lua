package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local messagepack = module:require "messagepack";
local encode, decode = messagepack.encode, messagepack.decode;

local function unhex(text)
	return (text:gsub("%s", ""):gsub("%x%x", function (pair) return string.char(tonumber(pair, 16)); end));
end

local function hex(bytes)
	return (bytes:gsub(".", function (c) return ("%02x"):format(c:byte()); end));
end

test("writes the shortest form of each type", function ()
	for _, case in ipairs {
		{ 0, "00" }, { 127, "7f" }, { 128, "cc80" }, { 255, "ccff" }, { 256, "cd0100" }, { 65535, "cdffff" }, { 65536, "ce00010000" },
		{ 4294967295, "ceffffffff" }, { 4294967296, "cf0000000100000000" }, { -1, "ff" }, { -32, "e0" }, { -33, "d0df" },
		{ -128, "d080" }, { -129, "d1ff7f" }, { -32769, "d2ffff7fff" }, { -2147483649, "d3ffffffff7fffffff" },
		{ 1.0, "01" }, { 1.5, "cb3ff8000000000000" }, { true, "c3" }, { false, "c2" }, { messagepack.null, "c0" },
		{ "", "a0" }, { "ab", "a26162" }, { {}, "90" }, { messagepack.map({}), "80" }, { messagepack.list({}), "90" },
		{ { 1, 2 }, "920102" }, { { a = 1 }, "81a16101" }, { { a = {} }, "81a16190" },
	} do
		equal(hex(encode(case[1])), case[2]);
	end
	equal(hex(encode(("x"):rep(31)):sub(1, 1)), "bf");
	equal(hex(encode(("x"):rep(32)):sub(1, 2)), "d920");
	equal(hex(encode(("x"):rep(255)):sub(1, 2)), "d9ff");
	equal(hex(encode(("x"):rep(256)):sub(1, 3)), "da0100");
	equal(hex(encode(("x"):rep(65536)):sub(1, 5)), "db00010000");
	local list = {};
	for i = 1, 16 do list[i] = i; end
	equal(hex(encode(list):sub(1, 3)), "dc0010");
	for i = 1, 65536 do list[i] = 1; end
	equal(hex(encode(list):sub(1, 5)), "dd00010000");
end);

test("refuses to write what the wire has no form for", function ()
	local cycle = {};
	cycle.cycle = cycle;
	for _, value in ipairs { { f = print }, { [1] = 1, a = 2, b = print }, { [true] = 1 }, { [2.5] = 1 }, cycle } do
		check(not pcall(encode, value), "it was written");
	end
end);

test("reads every form of each type", function ()
	for _, case in ipairs {
		{ "05", 5 }, { "cc05", 5 }, { "cd0005", 5 }, { "ce00000005", 5 }, { "cf0000000000000005", 5 }, { "d005", 5 }, { "d1fffb", -5 },
		{ "d2fffffffb", -5 }, { "d3fffffffffffffffb", -5 }, { "fb", -5 }, { "ca3f800000", 1 }, { "cb3ff0000000000000", 1 },
		{ "cb3ff8000000000000", 1.5 }, { "cfffffffffffffffff", 2.0 ^ 64 }, { "c3", true }, { "c2", false }, { "a161", "a" }, { "d90161", "a" },
		{ "da000161", "a" }, { "db0000000161", "a" }, { "920102", { 1, 2 } }, { "dc00020102", { 1, 2 } }, { "dd000000020102", { 1, 2 } },
		{ "81a16101", { a = 1 } }, { "de0001a16101", { a = 1 } }, { "df00000001a16101", { a = 1 } }, { "81a161c0", {} },
	} do
		equal(decode(unhex(case[1])), case[2], case[1]);
	end
	equal(decode(unhex("92c001"))[1], messagepack.null);
	equal(decode(unhex("92c001"))[2], 1);
	local infinite = decode(unhex("cb7ff0000000000000"));
	equal(infinite, math.huge);
	local nan = decode(unhex("cb7ff8000000000000"));
	check(nan ~= nan, "not a number");
end);

test("tells empty lists from empty maps, and binary data from strings", function ()
	local value = decode(unhex("83a16190a16280a163c40161"));
	check(messagepack.is_list(value.a) and not messagepack.is_map(value.a));
	check(messagepack.is_map(value.b) and not messagepack.is_list(value.b));
	check(type(value.c) ~= "string" and not messagepack.is_list(value.c) and not messagepack.is_map(value.c));
	check(not messagepack.is_map(messagepack.null) and not messagepack.is_list(messagepack.null));
end);

test("what is written is read back, and is written the same again", function ()
	local random = harness.random(3);
	local make;
	local makers = {
		function () return random(-70000, 70000); end,
		function () return random(0) >> random(0, 60); end,
		function () return random() * 1e6 + 0.25; end,
		function () return random(2) == 1; end,
		function () return ("ü"):rep(random(0, 200)); end,
		function (depth)
			local list = messagepack.list({});
			for i = 1, random(0, 20) do list[i] = make(depth + 1); end
			return list;
		end,
		function (depth)
			local map = messagepack.map({});
			for _ = 1, random(0, 20) do map["k"..random(0, 99)] = make(depth + 1); end
			return map;
		end,
	};
	function make(depth) return makers[random(depth > 3 and 5 or 7)](depth); end
	for _ = 1, 200 do
		local value = make(0);
		local bytes = encode(value);
		local again = decode(bytes);
		equal(again, type(value) == "number" and (math.tointeger(value) or value) or value);
		equal(#encode(again), #bytes);
	end
end);

test("agrees with lua-messagepack", function ()
	local other = assert(loadfile("/usr/share/lua/5.3/MessagePack.lua"), "lua-messagepack is not installed")();
	other.set_string("string");
	local value = { v = 1, id = ("ab"):rep(100), users = { "a@b", "c@d" }, deep = { x = { y = { -5, 300, 70000, 1.25 } } }, yes = true };
	equal(other.unpack(encode(value)), value);
	equal(decode(other.pack(value)), value);
end);

test("refuses what is hostile, without building it", function ()
	for what, bytes in pairs {
		nothing = "", ["a length of 2^32 - 1"] = unhex("dbffffffff"), ["a list of 2^32 - 1"] = unhex("ddffffffff"),
		["a map of 2^32 - 1"] = unhex("dfffffffff"), ["binary data of 2^32 - 1"] = unhex("c6ffffffff"),
		["a declared length beyond the end"] = unhex("a26c"), ["half a map"] = unhex("81a161"), ["half a number"] = unhex("cd00"),
		["depth 10,000"] = ("\x91"):rep(10000).."\xC0", ["depth 33"] = ("\x91"):rep(32).."\x91\x01",
		["maps, depth 10,000"] = ("\x81\xA1a"):rep(10000).."\xC0",
		["an extension"] = unhex("d40100"), ["an extension with length"] = unhex("c7010100"), ["a timestamp"] = unhex("d6ff00000000"),
		["the code that is none"] = "\xC1", ["bytes left over"] = unhex("8001"),
		["a key twice"] = unhex("82a16101a16102"), ["a key twice, the first nil"] = unhex("82a161c0a16102"),
		["a number for a key"] = unhex("810102"), ["nil for a key"] = unhex("81c002"), ["binary data for a key"] = unhex("81c4016102"),
		["a list for a key"] = unhex("819002"), ["invalid UTF-8"] = unhex("a1ff"), ["an overlong character"] = unhex("a2c080"),
		["a surrogate"] = unhex("a3eda080"), ["a character cut short"] = unhex("a1c3"), ["invalid UTF-8 in a key"] = unhex("81a1ff01"),
		["half a million lists"] = unhex("dd0007a120")..("\x90"):rep(1000),
	} do
		local ok, value, text = pcall(decode, bytes);
		check(ok, what.." raised: "..tostring(value));
		equal(value, nil, what);
		check(type(text) == "string" and text ~= "", what.." has no reason");
	end
	for _, value in ipairs { 5, true, {}, print } do
		equal(decode(value), nil);
	end
	check(decode(("\x91"):rep(31).."\x91\x01"), "depth 32");
end);

test("survives garbage, and every truncation of what is sound", function ()
	local random = harness.random(5);
	for _ = 1, 20000 do
		local bytes = {};
		for i = 1, random(1, 40) do bytes[i] = string.char(random(0, 255)); end
		local ok, err = pcall(decode, table.concat(bytes));
		check(ok, err);
	end
	local sound = encode {
		v = 1; id = "abc"; rosters = { ["a@b"] = { version = "1", items = { { jid = "c@d", groups = {} } } } }; n = 70000; f = 1.5;
	};
	for last = 0, #sound - 1 do
		equal(decode(sound:sub(1, last)), nil);
	end
	for _ = 1, 20000 do
		local at = random(#sound);
		local ok, err = pcall(decode, sound:sub(1, at - 1)..string.char(random(0, 255))..sound:sub(at + 1));
		check(ok, err);
	end
end);

harness.finish();
