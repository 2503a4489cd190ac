package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local codec = module:require "codec";

local request = { v = 1, id = "ab", budget_ms = 250, users = {}, groups = { "a", "ü" }, tls = true };

test("carries a request in both encodings", function ()
	for _, encoding in ipairs { "messagepack", "json" } do
		local bytes = codec.encode(request, encoding);
		equal(bytes:sub(1, 1) == "{", encoding == "json");
		local value = codec.decode(bytes);
		equal(value, request);
		check(codec.is_list(value.users) and codec.is_list(value.groups), "lists stay lists");
	end
	check(codec.encode(request, "json"):find('"users":[]', 1, true), "an empty list is written as one");
	check(codec.encode({ m = codec.map({}) }, "json"):find('"m":{}', 1, true), "an empty map is written as one");
end);

test("reads JSON with white space before it, null as absent, whole floats as whole", function ()
	local value = codec.decode(' \r\n\t{"a": null, "b": 5.0, "c": [1, null], "d": {}, "e": [], "f": 1.5, "g": "\\u00fc\\n"}');
	equal(value, { b = 5, c = { 1, codec.null }, d = {}, e = {}, f = 1.5, g = "ü\n" });
	check(codec.is_map(value.d) and codec.is_list(value.e));
end);

test("refuses what is no map", function ()
	for _, bytes in ipairs {
		"", "\x90", "\xC0", "\x05", "\xA1a", " ", "{", '{"a":', "[]", " []", ' "a"', "{\"a\":1", "{]", ("["):rep(100000),
		' '..('{"a":'):rep(100000),
		'{"a":'..("["):rep(40)..("]"):rep(40).."}", '{"a":"\255"}', "{}\0{", "null",
		" null", "not found",
	} do
		local value, err, detail = codec.decode(bytes);
		equal({ value, err }, { nil, "bad-reply" }, bytes:sub(1, 20));
		check(type(detail) == "string");
	end
	equal({ codec.decode(nil) }, { nil, "bad-reply", "empty" });
end);

test("refuses what is over 4 MiB unread", function ()
	local bytes = "\x81\xA1a\xDB"..string.pack(">s4", ("x"):rep(4 * 1024 * 1024));
	equal(select(2, codec.decode(bytes)), "bad-reply");
end);

test("writes no JSON that is none", function ()
	equal(codec.encode({ a = "\0\1\n\"\\\127é" }, "json"), '{"a":"\\u0000\\u0001\\n\\"\\\\\127é"}');
	equal(codec.encode({ a = 1789000000123 }, "json"), '{"a":1789000000123}');
	equal(codec.encode({ a = -0.5 }, "json"), '{"a":-0.5}');
	local cycle = {};
	cycle.cycle = cycle;
	for _, value in ipairs { 0 / 0, 1 / 0, print, cycle, { [true] = 1 }, { 1, nil, 3 }, { 1, a = 2 } } do
		check(not pcall(codec.encode, { a = value }, "json"), "it was written");
	end
end);

test("gives no key a meaning of its own", function ()
	equal(codec.decode('{"__array":[1],"__hash":["a",1]}'), { __array = { 1 }, __hash = { "a", 1 } });
end);

test("counts only brackets outside of strings", function ()
	local text = ("[{"):rep(50);
	equal(codec.decode('{"a":"'..text..'\\"'..text..'"}'), { a = text..'"'..text });
end);

test("survives broken JSON", function ()
	local random = harness.random(9);
	local sound = codec.encode(request, "json");
	for _ = 1, 5000 do
		local at = random(2, #sound);
		local ok, err = pcall(codec.decode, sound:sub(1, at - 1)..string.char(random(0, 255))..sound:sub(at + random(0, 2)));
		check(ok, err);
	end
end);

harness.finish();
