package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local generations = module:require "generations";

test("keeps what is put, and replaces it", function ()
	local entries = generations.new(4);
	entries:put("a", 1);
	entries:put("a", 2);
	equal({ entries:recall("a"), entries:peek("a"), entries:size(), entries.evictions }, { 2, 2, 1, 0 });
	equal(entries:recall("b"), nil);
end);

test("who is looked at without use goes, who is used stays", function ()
	local entries = generations.new(4);
	entries:put("used", 1);
	entries:put("seen", 2);
	for i = 1, 10 do
		entries:put(i, i);
		entries:peek("seen");
		equal(entries:recall("used"), 1);
	end
	equal(entries:peek("seen"), nil);
end);

test("within a generation, what was put or recalled stays", function ()
	local random = harness.random(12);
	local entries, used, generation = generations.new(10), {}, nil;
	for _ = 1, 5000 do
		local key = random(1, 20);
		if random(2) == 1 then entries:put(key, key); end
		local found = entries:recall(key);
		if entries.generation ~= generation then used, generation = {}, entries.generation; end
		if found then used[key] = true; end
		for other in pairs(used) do equal(entries.young[other], other); end
	end
end);

test("never holds more than its bound and counts all that went, whatever is done with it", function ()
	local random = harness.random(11);
	for most = 1, 9 do
		local entries, added = generations.new(most), 0;
		for _ = 1, 5000 do
			local key = random(1, 20);
			if random(3) == 1 then
				entries:recall(key);
			else
				if entries:peek(key) == nil then added = added + 1; end
				entries:put(key, key);
				equal(entries:peek(key), key);
			end
			check(entries:size() <= math.max(most, 2), "too many");
			local held = 0;
			for other = 1, 20 do if entries:peek(other) ~= nil then held = held + 1; end end
			equal({ entries:size(), entries.evictions }, { held, added - held });
		end
	end
end);

harness.finish();
