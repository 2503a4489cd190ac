-- The rules of the near cache, one by one. What they are good for together is in near_cache_model.lua.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local near_cache = module:require "near_cache";

local alice, bob, carol = "alice@a.example", "bob@b.example", "carol@c.example";
local first = 1795254505599;

local function stanza(from, to, changes)
	local request = { hook = "send", kind = "message", type = "chat", from = from, to = to };
	for name, value in pairs(changes or {}) do request[name] = value; end
	return request;
end

local function join(user, room, changes)
	local request = { event = "join", creating = false, user = user, room = room, nick = "n" };
	for name, value in pairs(changes or {}) do request[name] = value; end
	return request;
end

-- A cache with a clock of its own, connected and with its first number unless told otherwise.
local function scene(options)
	options = options or {};
	local self = { now = 1000 };
	self.cache = near_cache.new {
		clock = function () return self.now; end;
		bound = 2; max_entries = options.max_entries or 1000; max_stamps = options.max_stamps or 1000;
	};
	function self.reply(changes)
		local reply = { seq = self.cache:seen(), age_ms = 0, verdict = "allow", scope = "pair", ttl_ms = 60000, reason = "v=1" };
		for name, value in pairs(changes or {}) do
			if value == "absent" then value = nil; end
			reply[name] = value;
		end
		return reply;
	end
	function self.ask(request, changes, operation)
		local ticket = self.cache:ask(operation or "stanza-check", request);
		return self.cache:answered(ticket, self.reply(changes));
	end
	function self.get(request, operation)
		local verdict = self.cache:get(operation or "stanza-check", request);
		return verdict and verdict.reason;
	end
	function self.proof_age_ms()
		return math.floor(self.cache:stats().proof_age * 1000 + 0.5);
	end
	if not options.is_bare then
		self.cache:connected(true);
		self.cache:numbered(first);
	end
	return self;
end

local pair = stanza(alice.."/phone", bob);

test("what was answered is answered again, with its verdict, error and reason", function ()
	local s = scene();
	equal(s.get(pair), nil);
	local err = { type = "cancel", condition = "not-allowed" };
	equal(s.ask(pair, { verdict = "deny", error = err, reason = "why" }), true);
	local verdict = s.cache:get("stanza-check", pair);
	equal({ verdict.verdict, verdict.error, verdict.reason, verdict.seq }, { "deny", err, "why", first });
	equal({ s.cache:stats().hits, s.cache:stats().misses, s.cache:stats().stored }, { 1, 1, 1 });
end);

test("a hit makes no table", function ()
	local s = scene();
	s.ask(pair);
	collectgarbage();
	collectgarbage("stop");
	local before = collectgarbage("count");
	for _ = 1, 1000 do s.cache:get("stanza-check", pair); end
	local bytes = (collectgarbage("count") - before) * 1024 / 1000;
	collectgarbage("restart");
	-- One text of some 60 letters with its header. The smallest table is 56 bytes empty, and 72 more with one field.
	check(bytes < 120, bytes.." bytes");
end);

test("a pair is both bare JIDs in order, and all that the question says of its kind", function ()
	local s = scene();
	s.ask(pair);
	equal(s.get(stanza(alice.."/other", bob.."/any")), "v=1");
	equal(s.get(stanza(alice, bob)), "v=1");
	for _, other in ipairs {
		stanza(bob, alice), stanza(alice, carol), stanza(alice, bob, { hook = "route" }), stanza(alice, bob, { kind = "iq" }),
		stanza(alice, bob, { type = "normal" }), { hook = "send", kind = "message", from = alice, to = bob },
	} do
		equal(s.get(other), nil);
	end
	equal(s.get(join(alice.."/x", bob), "join-check"), nil);
end);

test("a full pair is both full JIDs", function ()
	local s = scene();
	s.ask(stanza(alice.."/phone", bob.."/x"), { scope = "pair-full" });
	equal(s.get(stanza(alice.."/phone", bob.."/x")), "v=1");
	equal(s.get(stanza(alice.."/other", bob.."/x")), nil);
	equal(s.get(stanza(alice.."/phone", bob)), nil);
	s.ask(join(alice.."/phone", "r@rooms"), { scope = "pair-full" }, "join-check");
	equal(s.get(join(alice.."/phone", "r@rooms"), "join-check"), "v=1");
	equal(s.get(join(alice.."/other", "r@rooms"), "join-check"), nil);
end);

test("a sender is the bare asker, whomever he writes to", function ()
	local s = scene();
	s.ask(pair, { scope = "sender" });
	equal(s.get(stanza(alice.."/other", carol)), "v=1");
	equal(s.get(stanza(bob, alice)), nil);
	s.ask({ user = alice.."/x" }, { scope = "sender", reason = "session" }, "session-check");
	equal(s.get({ user = alice.."/y" }, "session-check"), "session");
	equal(s.get({ user = bob.."/y" }, "session-check"), nil);
end);

test("a room is this bare user in this room, by event and creation", function ()
	local s = scene();
	s.ask(join(alice.."/phone", "r@rooms"), { scope = "room" }, "join-check");
	equal(s.get(join(alice.."/other", "r@rooms", { nick = "other" }), "join-check"), "v=1");
	for _, other in ipairs {
		join(alice.."/phone", "q@rooms"), join(bob.."/phone", "r@rooms"), join(alice.."/phone", "r@rooms", { event = "nick-change" }),
		join(alice.."/phone", "r@rooms", { creating = true }),
	} do
		equal(s.get(other, "join-check"), nil);
	end
end);

test("a scope that has no meaning for the operation, or is none or unknown, is not remembered", function ()
	local s = scene();
	for _, scope in ipairs { "none", "room", "whatever", "absent" } do equal(s.ask(pair, { scope = scope }), false, scope); end
	equal(s.ask({ user = alice.."/x" }, { scope = "pair" }, "session-check"), false);
	equal(s.ask({ user = alice }, {}, "roster-refresh"), false);
	equal(s.cache:get("roster-refresh", { user = alice }), nil);
end);

test("only allow, deny and drop are remembered, without notification, without degradation, and with a time to live", function ()
	local s = scene();
	for _, changes in ipairs {
		{ verdict = "modify" }, { verdict = "defer" }, { notify = "<message/>" }, { degraded = "source-unavailable" },
		{ ttl_ms = 0 }, { ttl_ms = "absent" }, { seq = "absent" }, { age_ms = "absent" },
	} do
		equal(s.ask(pair, changes), false);
		equal(s.get(pair), nil);
	end
	for _, verdict in ipairs { "allow", "deny", "drop" } do equal(s.ask(pair, { verdict = verdict }), true); end
end);

test("the time to live counts from the sending of the question", function ()
	local s = scene();
	local ticket = s.cache:ask("stanza-check", pair);
	s.now = s.now + 1.5;
	equal(s.cache:answered(ticket, s.reply { ttl_ms = 2000 }), true);
	s.now = s.now + 0.49;
	equal(s.get(pair), "v=1");
	s.now = s.now + 0.02;
	equal(s.get(pair), nil);
	ticket = s.cache:ask("stanza-check", pair);
	s.now = s.now + 1.5;
	equal(s.cache:answered(ticket, s.reply { ttl_ms = 1500 }), false);
end);

test("the next number ends what it names and nothing else", function ()
	for _, change in ipairs { { user = alice }, { user = bob }, { room = bob }, { domain = "a.example" }, { domain = "b.example" },
		{ operation = "stanza-check" }, { all = true } } do
		local s = scene();
		s.ask(pair);
		s.cache:numbered(first + 1, change);
		equal(s.get(pair), nil);
		equal(s.cache:seen(), first + 1);
		equal(s.ask(pair), true);
		equal(s.get(pair), "v=1");
	end
	for _, change in ipairs { { user = carol }, { room = carol }, { domain = "c.example" }, { domain = "example" },
		{ operation = "join-check" } } do
		local s = scene();
		s.ask(pair);
		s.cache:numbered(first + 1, change);
		equal(s.get(pair), "v=1");
	end
end);

test("a domain ends also what stands under it without a node", function ()
	local s = scene();
	s.ask(stanza(alice, "gateway.example"));
	s.cache:numbered(first + 1, { domain = "gateway.example" });
	equal(s.get(stanza(alice, "gateway.example")), nil);
end);

test("a tick only moves the order on", function ()
	local s = scene();
	s.ask(pair);
	s.cache:numbered(first + 1, nil);
	equal(s.cache:seen(), first + 1);
	equal(s.get(pair), "v=1");
end);

test("a gap ends everything, and the order goes on from there", function ()
	local s = scene();
	s.ask(pair);
	s.cache:numbered(first + 2, nil);
	equal(s.get(pair), nil);
	equal({ s.cache:seen(), s.cache:stats().gaps }, { first + 2, 1 });
	equal(s.ask(pair, { seq = first + 1 }), false);
	equal(s.ask(pair), true);
end);

test("a lower number ends everything, also what is being asked, and never lowers what was seen", function ()
	local s = scene();
	s.ask(pair);
	local ticket = s.cache:ask("stanza-check", pair);
	s.cache:numbered(first - 1, { user = carol });
	equal(s.cache:seen(), first);
	equal(s.get(pair), nil);
	equal(s.cache:answered(ticket, s.reply { seq = first }), false);
	s.cache:numbered(first + 1, nil);
	equal(s.ask(pair), true);
	equal(s.get(pair), "v=1");
end);

test("the same number again ends what it names and nothing else", function ()
	local s = scene();
	s.ask(pair);
	s.cache:numbered(first, { user = carol });
	equal(s.get(pair), "v=1");
	equal(s.cache:stats().gaps, 0);
	s.cache:numbered(first + 1, { user = alice });
	s.ask(pair);
	s.cache:numbered(first + 1, { user = alice });
	equal(s.get(pair), "v=1");
end);

test("what is heard before its number is dropped at once, with what is being asked", function ()
	local s = scene();
	s.ask(pair);
	s.ask(stanza(carol, bob));
	local ticket = s.cache:ask("stanza-check", pair);
	s.cache:heard({ user = alice });
	equal(s.cache:seen(), first);
	equal(s.get(pair), nil);
	equal(s.cache:answered(ticket, s.reply()), false);
	equal(s.get(stanza(carol, bob)), "v=1");
	s.cache:numbered(first + 1, { user = alice });
	equal(s.ask(pair), true);
	s.cache:heard(nil);
	equal(s.get(pair), "v=1");
end);

test("an answer that a change has overtaken is not remembered, one that knows the change is", function ()
	local s = scene();
	local ticket = s.cache:ask("stanza-check", pair);
	s.cache:numbered(first + 1, { user = bob });
	equal(s.cache:answered(ticket, s.reply { seq = first }), false);
	equal(s.cache:stats().refused, 1);
	equal(s.cache:answered(ticket, s.reply { seq = first + 1 }), true);
end);

test("an answer that knows more than was seen here stays when the numbers arrive", function ()
	local s = scene();
	equal(s.ask(pair, { seq = first + 2 }), true);
	s.cache:numbered(first + 1, { user = alice });
	s.cache:numbered(first + 2, { user = alice });
	s.ask(stanza(alice, carol));
	equal(s.get(pair), "v=1");
	s.cache:numbered(first + 3, { user = alice });
	equal(s.get(pair), nil);
end);

test("an older answer does not replace one that knows more", function ()
	local s = scene();
	s.cache:numbered(first + 1, nil);
	local ticket = s.cache:ask("stanza-check", pair);
	s.ask(pair, { reason = "v=2" });
	equal(s.cache:answered(ticket, s.reply { seq = first, reason = "v=1" }), false);
	equal(s.get(pair), "v=2");
end);

test("a new connection ends everything and stores nothing before its first number", function ()
	local s = scene();
	s.ask(pair);
	local ticket = s.cache:ask("stanza-check", pair);
	s.cache:connected(true);
	equal(s.get(pair), nil);
	equal(s.cache:answered(ticket, s.reply { seq = first + 5 }), false);
	equal(s.ask(pair, { seq = first + 5 }), false);
	equal(s.get(pair), nil);
	s.cache:numbered(first + 5, nil);
	equal({ s.cache:seen(), s.cache:stats().gaps }, { first + 5, 0 });
	equal(s.ask(pair), true);
	equal(s.get(pair), "v=1");
end);

test("a new connection that brings the same number again trusts nothing from before", function ()
	local s = scene();
	s.ask(pair);
	s.cache:connected(true);
	s.cache:numbered(first, nil);
	equal(s.get(pair), nil);
	equal(s.ask(pair), false);
	s.cache:numbered(first + 1, nil);
	equal(s.ask(pair), true);
end);

test("a new connection whose first number is an old one trusts nothing from before", function ()
	local s = scene();
	s.ask(pair);
	s.cache:connected(true);
	s.cache:numbered(first - 60, nil);
	equal({ s.cache:seen(), s.get(pair) or "none", s.cache:min_seq() }, { first, "none", first });
	s.cache:numbered(first + 1, nil);
	equal(s.ask(pair), true);
end);

test("nothing is stored before the first connection", function ()
	local s = scene { is_bare = true };
	equal(s.ask(pair, { seq = first }), false);
	s.cache:connected(true);
	equal(s.ask(pair, { seq = first }), false);
	s.cache:numbered(first, nil);
	equal(s.ask(pair), true);
end);

test("a proof dates from the sending of the question less the age that the worker tells", function ()
	local s = scene();
	local ticket = s.cache:ask("stanza-check", pair);
	s.now = s.now + 0.5;
	s.cache:answered(ticket, s.reply { age_ms = 700 });
	equal(s.proof_age_ms(), 1200);
	s.now = s.now + 0.79;
	equal(s.get(pair), "v=1");
	s.now = s.now + 0.02;
	equal(s.get(pair), nil);
	equal({ s.cache:stats().unproved, s.cache:stats().misses, s.cache:is_proved() }, { 1, 1, false });
end);

test("what is unproved stays, and is served again with the next proof", function ()
	local s = scene();
	s.ask(pair);
	s.now = s.now + 10;
	equal(s.get(pair), nil);
	s.ask(stanza(bob, carol));
	equal(s.get(pair), "v=1");
end);

test("a process that was stopped serves nothing before it has asked", function ()
	local s = scene();
	s.ask(pair, { ttl_ms = 3600000 });
	s.now = s.now + 600;
	equal(s.get(pair), nil);
end);

test("a proof counts only once its number was seen", function ()
	local s = scene();
	s.now = s.now + 10;
	s.ask(pair, { seq = first + 2 });
	equal(s.get(pair), nil);
	s.cache:numbered(first + 1, nil);
	equal(s.get(pair), nil);
	s.cache:numbered(first + 2, nil);
	equal(s.get(pair), "v=1");
	equal(s.proof_age_ms(), 0);
end);

test("of many proofs in waiting each counts when its own number was seen", function ()
	local s = scene();
	local began = s.now;
	-- The later the number, the later the moment; some tell less than others and some come late.
	for i = 1, 10 do
		s.now = began + i;
		s.ask(pair, { seq = first + i });
		s.ask(pair, { seq = first + i, age_ms = 500 });
		s.ask(pair, { seq = first + i + 1, age_ms = 1500 });
	end
	for i = 1, 10 do
		s.cache:numbered(first + i, nil);
		equal(s.proof_age_ms(), (10 - i) * 1000);
	end
end);

test("an older proof that comes late does not take a newer one back", function ()
	local s = scene();
	local early = s.cache:ask("stanza-check", pair);
	s.now = s.now + 1;
	s.ask(pair);
	s.cache:answered(early, s.reply());
	equal(s.proof_age_ms(), 0);
end);

test("proofs in waiting are bounded, and the latest is kept", function ()
	local s = scene();
	for i = 1, 1000 do
		s.now = s.now + 1;
		s.ask(pair, { seq = first + i });
	end
	equal(#s.cache.order.waiting, 16);
	s.cache:connected(true);
	s.cache:numbered(first + 1000, nil);
	equal(s.proof_age_ms(), 0);
	equal(#s.cache.order.waiting, 0);
end);

test("a reply that is a fallback is a proof all the same", function ()
	local s = scene();
	s.ask(pair);
	s.now = s.now + 10;
	s.ask(stanza(bob, carol), { degraded = "source-unavailable", scope = "none", ttl_ms = 0 });
	equal(s.get(pair), "v=1");
end);

test("a worker that has proved nothing proves nothing", function ()
	local s = scene();
	s.ask(pair, { age_ms = 1e9 });
	equal(s.get(pair), nil);
end);

test("a hit that is held is what would be found, and counted as such", function ()
	local s = scene();
	s.ask(pair);
	local hit = s.cache:hold("stanza-check", pair, s.cache:get("stanza-check", pair));
	check(rawequal(s.cache:again(hit), s.cache:get("stanza-check", pair)));
	equal({ s.cache:stats().hits, s.cache:stats().misses }, { 3, 0 });
end);

test("a hit that is held ends with all that ends what is remembered, and counts as no miss", function ()
	local ends = {
		["a change"] = function (s) s.cache:numbered(first + 1, { user = bob }); end;
		["a change without number"] = function (s) s.cache:heard({ domain = "a.example" }); end;
		["a gap"] = function (s) s.cache:numbered(first + 2, nil); end;
		["a clear"] = function (s) s.cache:clear(); end;
		["a connection"] = function (s) s.cache:connected(true); end;
		["a connection with its first number"] = function (s) s.cache:connected(true); s.cache:numbered(first, nil); end;
		["its time to live"] = function (s) s.now = s.now + 1; end;
		["the bound"] = function (s) s.cache.bound = 0.5; s.now = s.now + 0.6; end;
		["another answer"] = function (s) s.ask(pair, { verdict = "deny" }); end;
	};
	for name, stop in pairs(ends) do
		local s = scene();
		s.ask(pair, { ttl_ms = 1000 });
		local hit = s.cache:hold("stanza-check", pair, s.cache:get("stanza-check", pair));
		stop(s);
		equal(s.cache:again(hit), nil, name);
		equal({ s.cache:stats().hits, s.cache:stats().misses }, { 1, 0 }, name);
	end
end);

test("a hit that is held stays through what touches it not", function ()
	local s = scene();
	s.ask(pair);
	local hit = s.cache:hold("stanza-check", pair, s.cache:get("stanza-check", pair));
	s.cache:numbered(first + 1, { user = carol });
	s.cache:numbered(first + 2, nil);
	s.ask(stanza(bob, carol));
	equal(s.cache:again(hit).reason, "v=1");
end);

test("a hit that is held is not evicted unseen, and means nothing to another cache", function ()
	local s, other = scene { max_entries = 4 }, scene();
	s.ask(pair);
	local hit = s.cache:hold("stanza-check", pair, s.cache:get("stanza-check", pair));
	equal(other.cache:again(hit), nil);
	s.ask(stanza(alice, carol));
	check(s.cache:again(hit));
	s.ask(stanza(bob, carol));
	equal({ s.cache:again(hit), s.cache:stats().evictions }, { nil, 0 });
	-- It is still there, and used by being found.
	equal(s.get(pair), "v=1");
end);

test("the stamps are bounded: a full table ends everything and forgets nothing", function ()
	local s = scene { max_stamps = 10 };
	s.ask(pair);
	for i = 1, 10 do s.cache:numbered(first + i, { user = "u"..i.."@x" }); end
	equal(s.get(pair), "v=1");
	equal(s.cache:stats().stamps, 10);
	s.cache:numbered(first + 11, { domain = "y" });
	equal(s.get(pair), nil);
	equal(s.cache:stats().stamps, 0);
	equal(s.ask(pair, { seq = first + 10 }), false);
	equal(s.ask(pair), true);
end);

test("the entries are bounded: who is used stays, who is not goes", function ()
	local s = scene { max_entries = 100 };
	s.ask(pair);
	for i = 1, 1000 do
		s.ask(stanza(alice, "u"..i.."@x"));
		equal(s.get(pair), "v=1");
		check(s.cache:stats().entries <= 100);
	end
	equal(s.get(stanza(alice, "u1@x")), nil);
	equal(s.get(stanza(alice, "u1000@x")), "v=1");
	local stats = s.cache:stats();
	equal(stats.entries + stats.evictions, 1001);
end);

test("a cache for one entry is one", function ()
	local s = scene { max_entries = 1 };
	s.ask(pair);
	equal(s.get(pair), "v=1");
end);

-- Without JetStream: replies with sequence 0 and age 0, and a broker that says that it has none.
local function counted_scene()
	local s = scene { is_bare = true };
	s.cache:connected(false);
	equal(s.ask(pair, { seq = 0 }), false, "the reply that tells");
	return s;
end

test("without JetStream it counts what it hears by itself, and needs no proof", function ()
	local s = counted_scene();
	equal(s.ask(pair, { seq = 0 }), true);
	s.now = s.now + 30;
	equal(s.get(pair), "v=1");
	s.cache:heard({ user = carol });
	equal(s.get(pair), "v=1");
	local ticket = s.cache:ask("stanza-check", pair);
	s.cache:heard({ user = alice });
	equal(s.get(pair), nil);
	equal(s.cache:answered(ticket, s.reply { seq = 0 }), false);
	equal(s.ask(pair, { seq = 0 }), true);
	equal({ s.cache:seen(), s.cache:min_seq(), s.cache:stats().proof_age }, { 0, 0, 0 });
	s.now = s.now + 60;
	equal(s.get(pair), nil);
end);

test("without JetStream it clears at each connection", function ()
	local s = counted_scene();
	s.ask(pair, { seq = 0 });
	s.cache:connected(false);
	equal(s.get(pair), nil);
	equal(s.ask(pair, { seq = 0 }), false);
	equal(s.ask(pair, { seq = 0 }), true);
	s.cache:clear();
	equal(s.get(pair), nil);
	equal(s.ask(pair, { seq = 0 }), true);
end);

test("the first number ends the counting, and all that was remembered under it", function ()
	for _, sequence in ipairs { 1, 2, 3, first } do
		local s = counted_scene();
		s.ask(pair, { seq = 0 });
		s.cache:heard({ user = carol });
		s.ask(stanza(alice, carol), { seq = 0 });
		s.cache:numbered(sequence, nil);
		equal(s.get(pair), nil);
		equal(s.get(stanza(alice, carol)), nil);
		equal(s.ask(pair, { seq = 0 }), false);
		equal(s.cache:seen(), sequence);
	end
end);

test("a worker that finds no JetStream is not believed where the broker has it", function ()
	local s = scene { is_bare = true };
	s.cache:connected(true);
	for _ = 1, 3 do equal(s.ask(pair, { seq = 0 }), false); end
	s.cache:numbered(first, nil);
	equal(s.ask(pair, { seq = 0 }), false);
	equal(s.cache:is_proved(), false);
	s.cache:connected(false);
	equal(s.ask(pair, { seq = 0, age_ms = 1e9 }), false);
	equal(s.ask(pair, { seq = 0, age_ms = 1e9 }), false);
end);

test("a number of a stream is nothing to whoever counts by himself", function ()
	local s = counted_scene();
	equal(s.ask(pair, { seq = first }), false);
end);

test("counting begins above what a worker was ahead with when the broker still numbered", function ()
	local s = scene();
	s.ask(stanza(bob, carol)); -- a proof
	equal(s.ask(pair, { seq = first + 5, reason = "ahead" }), true);
	equal(s.get(pair), "ahead");
	s.cache:connected(false);
	s.ask(stanza(alice, carol), { seq = 0 });
	equal(s.get(pair), nil);
	for _ = 1, 10 do
		s.cache:heard({ user = alice });
		equal(s.get(pair), nil);
	end
	equal(s.ask(pair, { seq = 0 }), true);
	equal(s.get(pair), "v=1");
	-- The stream is back, and its first numbers are lower than the own count has become.
	s.cache:connected(true);
	s.cache:numbered(first + 6, nil);
	equal(s.get(pair), nil);
	equal(s.cache:seen(), first + 6);
end);

test("everything can be cleared, also what a worker was ahead with", function ()
	local s = scene();
	s.ask(pair);
	s.ask(stanza(alice, carol), { seq = first + 5 });
	s.cache:clear();
	equal(s.get(pair), nil);
	equal(s.get(stanza(alice, carol)), nil);
	equal(s.cache:seen(), first);
	s.cache:numbered(first + 1, nil);
	equal(s.ask(pair, { seq = first + 5 }), false);
	equal(s.ask(pair, { seq = first + 6 }), true);
end);

harness.finish();
