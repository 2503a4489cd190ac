-- Whose roster is asked for next.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local roster_queue = module:require "roster_queue";

-- A queue whose jobs say that they have begun, and end when they are told to.
local function scene(most)
	local self = { begun = {}, ends = {}, errors = {} };
	self.queue = roster_queue.new(most, function (err) table.insert(self.errors, err); end);
	function self.add(name, is_single)
		self.queue:add(function (done)
			table.insert(self.begun, name);
			self.ends[name] = done;
		end, is_single);
	end
	return self;
end

test("so many run at once, and the next one begins when one has ended", function ()
	local s = scene(2);
	for _, name in ipairs { "a", "b", "c", "d" } do s.add(name); end
	equal(s.begun, { "a", "b" });
	equal(s.queue:waiting(), 2);
	s.ends.b();
	s.ends.b();
	equal(s.begun, { "a", "b", "c" });
	s.ends.a();
	s.ends.c();
	s.ends.d();
	equal(s.begun, { "a", "b", "c", "d" });
	equal(s.queue.running, 0);
	equal(s.queue:waiting(), 0);
end);

test("the two lines take turns", function ()
	local s = scene(1);
	s.add("first");
	for n = 1, 3 do s.add("mass "..n); end
	for n = 1, 3 do s.add("single "..n, true); end
	while s.queue.running > 0 do s.ends[s.begun[#s.begun]](); end
	local place = {};
	for n, name in ipairs(s.begun) do place[name] = n; end
	check(place["single 1"] <= 3 and place["mass 1"] <= 3);
	check(place["single 2"] <= 5 and place["mass 2"] <= 5);
end);

test("who is done at once is followed by the next, however many there are", function ()
	local s, count = scene(1), 0;
	s.add("first");
	for _ = 1, 100000 do
		s.queue:add(function (done)
			count = count + 1;
			done();
		end);
	end
	s.ends.first();
	equal(count, 100000);
	equal(s.queue.running, 0);
end);

test("a job that fails is over, and is told of", function ()
	local s = scene(1);
	s.queue:add(function () error("no"); end);
	s.add("next");
	equal(s.begun, { "next" });
	equal(#s.errors, 1);
end);

harness.finish();
