-- Which answer about a roster is applied, and when another one is needed.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local roster_order = module:require "roster_order";

local function due(sequence)
	local order = roster_order.new();
	order:mark(sequence);
	return order;
end

test("nothing is asked for before something has changed", function ()
	check(not roster_order.new():wants_ask());
end);

test("one ask is enough while nothing changes", function ()
	local order = due();
	check(order:wants_ask());
	order:ask();
	check(not order:wants_ask());
end);

test("an answer that knows the change ends it, also one that was asked for before", function ()
	local order = due();
	local ticket = order:ask();
	order:mark(7);
	check(order:answered(ticket, 6));
	check(order.is_due);
	check(order:answered(order:ask(), 7));
	check(not order.is_due);
	ticket = order:ask();
	order:mark(8);
	check(order:answered(ticket, 9));
	check(not order.is_due);
end);

test("a change that the applied answer knows already is none", function ()
	local order = due();
	order:answered(order:ask(), 9);
	order:mark(9);
	check(not order.is_due);
	order:mark(10);
	check(order.is_due);
end);

test("what has no number needs an answer that was asked for later", function ()
	local order = due();
	local ticket = order:ask();
	order:mark();
	check(order:answered(ticket, 9));
	check(order.is_due);
	check(order:answered(order:ask(), 9));
	check(not order.is_due);
end);

test("an older answer is dropped, and one of the same number that was asked for before or of nobody who is due", function ()
	local order = due();
	local first, second = order:ask(), order:ask();
	check(order:answered(second, 5));
	check(not order:answered(first, 4));
	check(not order:answered(order:ask(), 5));
	order:mark();
	check(order:answered(order:ask(), 5));
	check(not order:answered(first, 5));
end);

test("two are asked at once and not three", function ()
	local order = due();
	order:ask();
	order:mark(2);
	check(order:wants_ask());
	order:ask();
	order:mark(3);
	check(not order:wants_ask());
	order:failed();
	check(order:wants_ask());
	check(not order:is_tried());
end);

test("a failure leaves him due", function ()
	local order = due(4);
	order:ask();
	order:failed();
	check(order.is_due and order:wants_ask() and order:is_tried());
	equal(order.asking, 0);
end);

test("what was changed on the spot is not undone by what was asked for before", function ()
	local order = due();
	order:answered(order:ask(), 4);
	order:mark(5);
	local ticket = order:ask();
	order:changed_here(6);
	check(not order:answered(ticket, 5));
	check(order.is_due);
	check(not order:answered(order:ask(), 5));
	check(order:answered(order:ask(), 6));
	check(not order.is_due);
end);

test("what was changed on the spot hides no change that is heard of later", function ()
	local order = due();
	order:answered(order:ask(), 4);
	order:changed_here(6);
	order:mark(5);
	check(order.is_due);
end);

test("without numbers what was changed on the spot is not undone either", function ()
	local order = due();
	order:answered(order:ask(), 0);
	order:mark();
	local ticket = order:ask();
	order:changed_here(0);
	check(not order:answered(ticket, 0));
	check(order.is_due and order:answered(order:ask(), 0));
end);

test("without numbers the order of asking decides", function ()
	local order = due();
	order:answered(order:ask(), 8);
	order:reset();
	order:mark();
	local first = order:ask();
	order:mark();
	local second = order:ask();
	check(order:answered(second, 0));
	check(not order:answered(first, 0));
	check(not order.is_due);
end);

-- Whatever the order of changes, asks and answers: what is applied in the end is the newest, and nobody stays due.
test("every order ends with the newest", function ()
	local random = harness.random(1);
	for _ = 1, 20000 do
		local order, asked, sequence, applied = roster_order.new(), {}, 0, -1;
		order:mark();
		local function answer(place)
			local one = table.remove(asked, place);
			if random(5) == 1 then return order:failed(); end
			if order:answered(one.ticket, one.knows) then
				check(one.knows >= applied, "an older one was applied");
				applied = one.knows;
			end
		end
		for _ = 1, random(12) do
			local what = random(3);
			if what == 1 then
				sequence = sequence + 1;
				order:mark(sequence);
			elseif what == 2 and order:wants_ask() then
				asked[#asked + 1] = { ticket = order:ask(), knows = random(math.max(applied, 0), sequence) };
			elseif #asked > 0 then
				answer(random(#asked));
			end
			check(#asked <= 2, "more than two at once");
		end
		while order.is_due or #asked > 0 do
			if #asked > 0 then answer(1); end
			if order:wants_ask() then asked[#asked + 1] = { ticket = order:ask(), knows = sequence }; end
		end
		equal(applied, sequence);
	end
end);

harness.finish();
