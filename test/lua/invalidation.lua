-- Invalidations as they come from the broker, with the decoders and the JID preparation of Prosody itself.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;/usr/lib/prosody/?.lua;"..package.path;
package.cpath = "/usr/lib/prosody/?.so;"..package.cpath;
local harness = require "harness";
local test, equal = harness.test, harness.equal;
local codec = module:require "codec";
local invalidation = module:require "invalidation";
local sha256 = require "util.hashes".sha256;

local decode = invalidation.new_decoder { decode = codec.decode, split = require "util.jid".prepped_split };
local everything = { all = true };

test("reads each scope in both encodings, JIDs in their normal form", function ()
	for _, encoding in ipairs { "messagepack", "json" } do
		local function read(map)
			map.v, map.reason = map.v or 1, "because";
			return decode(codec.encode(map, encoding));
		end
		equal(read { user = "Alice@Example.ORG" }, { user = "alice@example.org" });
		equal(read { user = "gateway.example.org" }, { user = "gateway.example.org" });
		equal(read { room = "Raum@rooms.example" }, { room = "raum@rooms.example" });
		equal(read { domain = "Example.org" }, { domain = "example.org" });
		equal(read { operation = "join-check" }, { operation = "join-check" });
		equal(read { all = true }, everything);
		equal(read { tick = "worker 1" }, nil);
		equal(read { user = "a@b", room = false, all = false }, { user = "a@b" });
		equal(read { v = 1.0, user = "a@b" }, { user = "a@b" });
	end
end);

test("what cannot be read, names nothing, several things, or a JID without normal form is everything", function ()
	for _, map in ipairs {
		{ v = 1 }, { v = 2, user = "a@b" }, { user = "a@b" }, { v = "1", user = "a@b" }, { v = 1, user = "a@b", room = "c@d" },
		{ v = 1, tick = "w", user = "a@b" }, { v = 1, tick = "w", all = true }, { v = 1, user = "a@b/resource" }, { v = 1, user = "" },
		{ v = 1, user = "@b" }, { v = 1, user = "a b@c" }, { v = 1, user = 5 }, { v = 1, user = { "a@b" } }, { v = 1, domain = "a@b" },
		{ v = 1, operation = "no-such" }, { v = 1, all = "yes" }, { v = 1, all = 1 }, { v = 1, tick = false },
	} do
		for _, encoding in ipairs { "messagepack", "json" } do equal(decode(codec.encode(map, encoding)), everything); end
	end
	for _, payload in ipairs { "", "x", "{", "{}", "[]", "\xC1", "\x80", '{"v":1,"user":"a@b"', '{"v":1,"user":null}', ("["):rep(100000) } do
		equal(decode(payload), everything, payload:sub(1, 20));
	end
end);

test("a key that stands there twice is everything", function ()
	equal(decode('{"v":1,"user":"a@b","user":"c@d"}'), everything);
	equal(decode('{"v":1,"user":"a@b","us\\u0065r" : "c@d"}'), everything);
	equal(decode('{"v":1,"tick":"w","v":1}'), everything);
	equal(decode("\x83\xA1v\x01\xA4user\xA3a@b\xA4user\xA3c@d"), everything);
	equal(decode('{"v":1,"user":"a@b","reason":"x: y"}'), { user = "a@b" });
end);

test("survives garbage", function ()
	local random = harness.random(3);
	for _ = 1, 5000 do
		local bytes = {};
		for i = 1, random(0, 30) do bytes[i] = string.char(random(0, 255)); end
		local change = decode(table.concat(bytes));
		equal(change, everything);
	end
end);

test("the sequence is the last of several, and so is the stream", function ()
	local function read(sequence, stream)
		return invalidation.sequence_of({ ["Nats-Sequence"] = sequence, ["Nats-Stream"] = stream }, "OURS");
	end
	equal(read({ "1795254505600" }, { "OURS" }), 1795254505600);
	equal(read({ "9", "17" }, { "THEIRS", "OURS" }), 17);
	equal(read({ "17" }, { "OURS", "THEIRS" }), nil);
	equal(read({ "17" }, { "THEIRS" }), nil);
	equal(read({ "17" }, nil), nil);
	equal(read(nil, { "OURS" }), nil);
	equal(invalidation.sequence_of(nil, "OURS"), nil);
	for _, sequence in ipairs { "", "0", "-1", "1.5", "0x10", "1e3", "17 18", "9007199254740992", ("9"):rep(400) } do
		equal(read({ "5", sequence }, { "OURS" }), nil, sequence);
	end
	equal(read({ "9007199254740991" }, { "OURS" }), 9007199254740991);
end);

test("the prefix makes the name of the stream", function ()
	local function hex(text) return sha256(text, true); end
	equal(invalidation.stream_name("xmpp.policy.v1", hex), "WARDER_INVALIDATIONS");
	equal(invalidation.stream_name("test-1.policy", hex), "WARDER_INVALIDATIONS_test_1_policy_"..hex("test-1.policy"):sub(1, 8));
end);

harness.finish();
