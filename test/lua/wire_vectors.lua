-- The bytes that all sides of the wire agree on, through the hook's codec and its checks of replies.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local codec = module:require "codec";
local json = module:require "json";
local replies = module:require "replies";

local file = assert(io.open(harness.root.."/test/vectors/wire.json"));
local vectors = assert(json.decode(file:read("a")));
file:close();

local function unhex(text)
	return (text:gsub("%x%x", function (pair) return string.char(tonumber(pair, 16)); end));
end

for _, vector in ipairs(vectors) do
	if vector.invalid then
		test("refuses "..vector.name, function ()
			local value, err = codec.decode(vector.json or unhex(vector.messagepack));
			equal({ value, err }, { nil, "bad-reply" });
		end);
	else
		test("reads and writes "..vector.name, function ()
			local expected = vector.value;
			equal(codec.decode(unhex(vector.messagepack)), expected, "MessagePack");
			equal(codec.decode(vector.json), expected, "JSON");
			local bytes = codec.encode(expected, "messagepack");
			equal(codec.decode(bytes), expected, "written and read again");
			check(#bytes <= #vector.messagepack / 2, "longer than the others write it");
			equal(codec.decode(codec.encode(expected, "json")), expected, "written as JSON and read again");
			if vector.kind == "reply" then
				local reply, failure = replies.check(vector.operation, codec.decode(unhex(vector.messagepack)), expected.id);
				check(reply or expected.failure == failure, tostring(failure));
			end
		end);
	end
end

check(#vectors > 0);
harness.finish();
