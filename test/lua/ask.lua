-- Asking, against a broker's side that the test plays by hand on a clock that it moves by hand.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local ask = module:require "ask";
local codec = module:require "codec";

-- One asker; what it sends lands in sent, each with its decoded request and respond().
local function new_asker(options)
	local world = { now = 1000; sent = {}; tasks = {}; ids = 0; max_payload = 1048576; log = {} };
	local client = {};
	function client.max_payload() return world.max_payload; end
	function client.request(_, subject, payload, timeout, callback)
		if world.refuse then return callback(world.refuse); end
		local sending = { subject = subject; request = codec.decode(payload); timeout = timeout; callback = callback; size = #payload };
		function sending.respond(reply, id)
			reply.v, reply.id = reply.v or 1, id or sending.request.id;
			callback(nil, { payload = codec.encode(reply, "messagepack") });
		end
		table.insert(world.sent, sending);
	end
	options = options or {};
	options.client = client;
	options.server = "node1";
	options.now = function () return world.now; end;
	options.add_task = function (delay, task) table.insert(world.tasks, { at = world.now + delay; run = task }); end;
	options.random_id = function () world.ids = world.ids + 1; return "id"..world.ids; end;
	options.log = function (level, message, ...) table.insert(world.log, level.." "..message:format(...)); end;
	world.asker = ask.new(options);
	function world.ask(operation, request, more)
		local answer = { calls = 0 };
		local given = more or {};
		given.budget_ms = given.budget_ms or 250;
		world.asker:ask(operation, request, given, function (reply, failure)
			answer.calls = answer.calls + 1;
			answer.reply, answer.failure = reply, failure;
		end);
		return answer;
	end
	function world.pass(seconds)
		world.now = world.now + seconds;
		local due = world.tasks;
		world.tasks = {};
		for _, task in ipairs(due) do
			if task.at <= world.now then task.run(); else table.insert(world.tasks, task); end
		end
	end
	return world;
end

local function outcome(operation, reply, options)
	local world = new_asker();
	local answer = world.ask(operation, { user = "a@b" }, options);
	world.sent[1].respond(reply);
	equal(answer.calls, 1);
	return answer.failure or answer.reply, world;
end

test("fills in the envelope and leaves the request as it was", function ()
	local world = new_asker { min_seq = function () return 77; end };
	local request = { user = "a@b/c", room = "r@m", nick = "n", event = "join" };
	local answer = world.ask("join-check", request, { budget_ms = 1000 });
	local sending = world.sent[1];
	equal(sending.subject, "xmpp.policy.v1.join-check");
	equal(sending.request, { v = 1, id = "id1", server = "node1", budget_ms = 1000, min_seq = 77,
		user = "a@b/c", room = "r@m", nick = "n", event = "join" });
	equal(sending.timeout, 1.0);
	equal(request.id, nil);
	world.pass(0.1);
	sending.respond { verdict = "allow", seq = 5, age_ms = 3 };
	equal(answer.reply.verdict, "allow");
	equal({ answer.reply.asked_at, answer.reply.answered_at }, { 1000, 1000.1 });
	equal(answer.reply.scope, "none");
	equal(world.asker.stats, { asked = 1, answered = 1, retried = 0, hedged = 0, rescued = 0, failed = {} });
end);

test("uses the configured prefix", function ()
	local world = new_asker { prefix = "acme.xmpp" };
	world.ask("session-check", { user = "a@b/c" });
	equal(world.sent[1].subject, "acme.xmpp.session-check");
end);

test("passes each verdict with its fields", function ()
	for _, reply in ipairs {
		{ verdict = "allow", ttl_ms = 1000, scope = "pair" },
		{ verdict = "deny", error = { type = "auth", condition = "forbidden", text = "No." }, reason = "banned", notify = "<message/>" },
		{ verdict = "deny", error = { xml = "<error/>" }, degraded = "source-unavailable" },
		{ verdict = "drop" }, { verdict = "defer", error = codec.map({}) },
		{ verdict = "modify", stanza = "<message/>" },
	} do
		local sent = {};
		for name, value in pairs(reply) do sent[name] = value; end
		local got = outcome("stanza-check", sent);
		for name, value in pairs(reply) do equal(got[name], value, name); end
	end
	equal(outcome("roster-set", { verdict = "modify", item = { name = "N", groups = { "g" } } }).item.groups, { "g" });
end);

test("takes no reply that is none", function ()
	for what, reply in pairs {
		["another version"] = { v = 2, verdict = "allow" }, ["no verdict"] = {}, ["an unknown verdict"] = { verdict = "maybe" },
		["a verdict that is true"] = { verdict = true }, ["modify without a stanza"] = { verdict = "modify" },
		["an error that is a string"] = { verdict = "deny", error = "no" },
		["an error that is a list"] = { verdict = "deny", error = { "a" } },
		["a condition that is a number"] = { verdict = "deny", error = { condition = 5 } },
		["a text that would break the stream"] = { verdict = "deny", error = { text = "a\0b" } },
		["another that would"] = { verdict = "deny", error = { text = "\u{FFFE}" } },
		["a negative life"] = { verdict = "allow", ttl_ms = -1 }, ["a life without end"] = { verdict = "allow", ttl_ms = math.huge },
		["a life that is no number"] = { verdict = "allow", ttl_ms = 0 / 0 },
		["a life that is a string"] = { verdict = "allow", ttl_ms = "5" },
		["a sequence that is a string"] = { verdict = "allow", seq = "5" }, ["half a sequence"] = { verdict = "allow", seq = 1.5 },
		["a scope that is a number"] = { verdict = "allow", scope = 1 },
		["a reason that is a map"] = { verdict = "deny", reason = codec.map({}) },
		["an unknown failure"] = { failure = "tired" }, ["a failure that is a number"] = { failure = 5 },
		["a roster"] = { status = "ok", rosters = codec.map({}) },
		["a notify that is a map"] = { verdict = "deny", notify = codec.map({}) },
	} do
		equal(outcome("stanza-check", reply), "bad-reply", what);
	end
	for _, operation in ipairs { "join-check", "session-check", "roster-subscription" } do
		equal(outcome(operation, { verdict = "modify", stanza = "<presence/>" }), "bad-reply");
	end
	equal(outcome("roster-set", { verdict = "modify" }), "bad-reply");
	equal(outcome("roster-set", { verdict = "modify", item = { groups = "g" } }), "bad-reply");
	equal(outcome("user-removed", {}), "bad-reply");
	equal(outcome("user-removed", { forgotten = true }).forgotten, true);
end);

test("gives what is only unknown its default, and keeps the verdict", function ()
	local reply = outcome("stanza-check", {
		verdict = "deny"; scope = "galaxy"; reason = "a\nb\27[0m"; error = { type = "odd", condition = "a><b", text = "t" };
	});
	equal({ reply.verdict, reply.scope, reply.reason }, { "deny", "none", "a b [0m" });
	equal(reply.error, { text = "t" });
end);

test("checks a roster to the last item", function ()
	local function roster(item, more)
		local body = { version = "v1", items = { { jid = "x@y", subscription = "both", groups = {} }, item }, pending = {} };
		for key, value in pairs(more or {}) do body[key] = value; end
		return { status = "ok", message = "", updated = 1, errors = 0, rosters = { ["a@b"] = body }, failed = codec.map({}) };
	end
	local good = outcome("roster-refresh", roster({ jid = "z@y", subscription = "none", ask = "subscribe", name = "Z", groups = { "g" } },
		{ pending = { { jid = "p@q", text = "hi" } } }));
	equal(good.rosters["a@b"].items[2].name, "Z");
	local bad = outcome("roster-refresh", { status = "error", message = "down", rosters = codec.map({}), failed = { ["a@b"] = "gone" } });
	equal(bad.failed, { ["a@b"] = "gone" });
	for what, reply in pairs {
		["an item without JID"] = roster { subscription = "both" }, ["an item that is a string"] = roster "x@y",
		["a subscription that is none"] = roster { jid = "z@y", subscription = "friends" }, ["no subscription"] = roster { jid = "z@y" },
		["groups as a set"] = roster { jid = "z@y", subscription = "both", groups = { g = true } },
		["a group that is a number"] = roster { jid = "z@y", subscription = "both", groups = { 5 } },
		["a name that breaks XML"] = roster { jid = "z@y", subscription = "both", name = "\1" },
		["pending as a map"] = roster(nil, { pending = { a = 1 } }), ["items as a map"] = roster(nil, { items = codec.map({}) }),
		["no version"] = { status = "ok", rosters = { ["a@b"] = { items = {} } } },
		["no rosters"] = { status = "ok" }, ["rosters as a list"] = { status = "ok", rosters = {} },
		["no status"] = { rosters = codec.map({}) }, ["half an update"] = { status = "ok", updated = 0.5, rosters = codec.map({}) },
	} do
		equal(outcome("roster-refresh", reply), "bad-reply", what);
	end
end);

test("passes the failures that workers answer, by kind", function ()
	for _, failure in ipairs { "bad-request", "too-large", "expired", "overloaded", "stanza-required", "source-unavailable", "internal" } do
		local got, world = outcome("stanza-check", { failure = failure, text = "..." });
		equal(got, failure);
		equal(world.asker.stats.failed, { [failure] = 1 });
	end
end);

test("believes only the reply to its own request", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {});
	world.sent[1].respond({ verdict = "allow" }, "another");
	equal(answer.failure, "bad-reply");
end);

test("hears from a worker that its request could not be read", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {});
	world.sent[1].respond({ failure = "bad-request", text = "" }, "");
	equal(answer.failure, "bad-request");
	answer = world.ask("stanza-check", {});
	world.sent[2].respond({ verdict = "allow" }, "");
	equal(answer.failure, "bad-reply");
end);

test("takes garbage and what is too large for a bad reply", function ()
	for _, message in ipairs {
		{ payload = "" }, { payload = "OK" }, { payload = "\xC1" }, { payload = "[]" }, { payload = "", oversize = true },
	} do
		local world = new_asker();
		local answer = world.ask("stanza-check", {});
		world.sent[1].callback(nil, message);
		equal({ answer.calls, answer.failure }, { 1, "bad-reply" });
	end
end);

test("takes no reply after the budget", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {}, { budget_ms = 100 });
	world.now = world.now + 0.101;
	world.sent[1].respond { verdict = "allow" };
	equal(answer.failure, "timeout");
end);

test("passes the failures of the connection, at once", function ()
	for _, failure in ipairs { "disconnected", "timeout", "too-large" } do
		local world = new_asker();
		world.refuse = failure;
		local answer = world.ask("stanza-check", {});
		equal({ answer.calls, answer.failure, #world.tasks }, { 1, failure, 0 });
	end
end);

test("asks once more after 50 ms when nobody listens, in the same budget", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {}, { budget_ms = 250 });
	world.sent[1].callback("no-responders");
	equal({ answer.calls, #world.sent }, { 0, 1 });
	world.pass(0.05);
	equal(#world.sent, 2);
	check(world.sent[2].request.id ~= world.sent[1].request.id, "the same id twice");
	check(math.abs(world.sent[2].timeout - 0.2) < 1e-6 and world.sent[2].request.budget_ms >= 199, "another budget");
	world.sent[2].respond { verdict = "deny" };
	equal(answer.reply.verdict, "deny");
	equal(world.asker.stats, { asked = 1, answered = 1, retried = 1, hedged = 0, rescued = 0, failed = {} });
end);

test("asks no third time", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {});
	world.sent[1].callback("no-responders");
	world.pass(0.05);
	world.sent[2].callback("no-responders");
	world.pass(0.2);
	equal({ answer.calls, answer.failure, #world.sent }, { 1, "no-responders", 2 });
end);

test("asks not again when the budget is too short for it", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {}, { budget_ms = 50 });
	world.sent[1].callback("no-responders");
	equal({ answer.calls, answer.failure }, { 1, "no-responders" });
end);

test("asks never twice what is an event", function ()
	for _, operation in ipairs { "roster-set", "roster-subscription", "user-removed" } do
		local world = new_asker();
		local answer = world.ask(operation, {});
		world.sent[1].callback("no-responders");
		equal({ answer.calls, answer.failure, #world.tasks }, { 1, "no-responders", 0 });
	end
end);

test("asks a check once more when half of its budget has passed in silence", function ()
	for _, operation in ipairs { "stanza-check", "join-check", "session-check" } do
		local world = new_asker();
		local answer = world.ask(operation, {}, { budget_ms = 1000 });
		world.pass(0.49);
		equal(#world.sent, 1);
		world.pass(0.02);
		equal(#world.sent, 2);
		check(world.sent[2].request.id ~= world.sent[1].request.id, "the same id twice");
		check(math.abs(world.sent[2].timeout - 0.49) < 1e-6 and world.sent[2].request.budget_ms >= 489, "another budget");
		world.sent[2].respond { verdict = "deny" };
		equal({ answer.reply.verdict, math.floor(answer.reply.asked_at * 100 + 0.5) }, { "deny", 100051 });
		world.sent[1].callback("timeout");
		world.pass(1);
		equal({ answer.calls, #world.sent }, { 1, 2 });
		equal(world.asker.stats, { asked = 1, answered = 1, retried = 0, hedged = 1, rescued = 1, failed = {} });
	end
end);

test("takes the first asking's reply too, if that comes first, as of when it was asked", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", {});
	world.pass(0.2);
	world.sent[1].respond { verdict = "deny" };
	world.sent[2].respond { verdict = "allow" };
	equal({ answer.calls, answer.reply.verdict, answer.reply.asked_at }, { 1, "deny", 1000 });
	equal({ world.asker.stats.hedged, world.asker.stats.rescued }, { 1, 0 });
end);

test("waits for the other asking when one has failed, and says how the first failed when both have", function ()
	for _, first in ipairs { 1, 2 } do
		local world = new_asker();
		local answer = world.ask("stanza-check", {});
		world.pass(0.2);
		world.sent[first].respond { failure = "overloaded", text = "" };
		equal(answer.calls, 0);
		world.sent[3 - first].respond { verdict = "drop" };
		equal({ answer.calls, answer.reply.verdict }, { 1, "drop" });
		answer = world.ask("stanza-check", {});
		world.pass(0.2);
		world.sent[2 + first].respond { failure = "overloaded", text = "" };
		world.sent[5 - first].callback("timeout");
		equal({ answer.calls, answer.failure }, { 1, "overloaded" });
		equal(world.asker.stats.failed, { overloaded = 1 });
	end
end);

test("waits for no other asking when one says what a sender can provoke", function ()
	for _, failure in ipairs { "bad-request", "too-large" } do
		local world = new_asker();
		local answer = world.ask("stanza-check", {});
		world.pass(0.2);
		world.sent[2].respond { failure = failure, text = "" };
		world.sent[1].respond { verdict = "allow" };
		equal({ answer.calls, answer.failure }, { 1, failure });
	end
end);

test("sends the stanza with the second asking, since there is no third", function ()
	local world = new_asker();
	local answer = world.ask("stanza-check", { stanza = "<iq/>" }, { stanza_on_demand = true });
	world.pass(0.2);
	equal({ world.sent[1].request.stanza or "none", world.sent[2].request.stanza }, { "none", "<iq/>" });
	world.sent[1].respond { failure = "stanza-required", text = "" };
	equal({ answer.calls, #world.sent }, { 0, 2 });
	world.sent[2].respond { verdict = "drop" };
	equal(answer.reply.verdict, "drop");
end);

test("asks nothing else a second time for its silence, and no check a third time", function ()
	for _, operation in ipairs { "roster-refresh", "roster-set", "roster-subscription", "user-removed" } do
		local world = new_asker();
		world.ask(operation, {});
		world.pass(0.2);
		equal(#world.sent, 1, operation);
	end
	local world = new_asker();
	world.ask("stanza-check", { stanza = "<iq/>" }, { stanza_on_demand = true, budget_ms = 250 });
	world.sent[1].respond { failure = "stanza-required", text = "" };
	world.ask("stanza-check", {}, { budget_ms = 60 });
	world.sent[3].callback("no-responders");
	world.pass(0.04);
	equal(#world.sent, 3);
	world.pass(0.012);
	equal(#world.sent, 4);
end);

test("asks for silence no more than one in four questions in vain, beyond the first twenty", function ()
	local world = new_asker();
	for _ = 1, 40 do
		world.ask("stanza-check", {});
		world.pass(0.2);
	end
	local in_vain = world.asker.stats.hedged;
	check(in_vain >= 20 and in_vain <= 30, "asked "..in_vain.." times in vain");
	-- Where it helps there is no end to it.
	world = new_asker();
	for _ = 1, 100 do
		world.ask("stanza-check", {});
		world.pass(0.2);
		world.sent[#world.sent].respond { verdict = "allow" };
	end
	equal(world.asker.stats.rescued, 100);
end);

test("sends the stanza when there is one", function ()
	local world = new_asker();
	world.ask("stanza-check", { stanza = "<message/>" });
	world.ask("stanza-check", { stanza = function () return "<iq/>"; end });
	equal({ world.sent[1].request.stanza, world.sent[1].request.stanza_omitted }, { "<message/>" });
	equal(world.sent[2].request.stanza, "<iq/>");
end);

test("sends the stanza only when asked for it, if so wanted", function ()
	local world = new_asker();
	local written = 0;
	local function stanza()
		written = written + 1;
		return "<iq/>";
	end
	local answer = world.ask("stanza-check", { stanza = stanza }, { stanza_on_demand = true });
	equal({ world.sent[1].request.stanza or "none", world.sent[1].request.stanza_omitted or "no", written }, { "none", "no", 0 });
	world.pass(0.1);
	world.sent[1].respond { failure = "stanza-required", text = "" };
	equal(#world.sent, 2);
	equal(world.sent[2].request.stanza, "<iq/>");
	check(math.abs(world.sent[2].timeout - 0.15) < 1e-6, "another budget");
	world.sent[2].respond { failure = "stanza-required", text = "" };
	equal({ answer.calls, answer.failure, #world.sent }, { 1, "stanza-required", 2 });
end);

test("does not ask again for a stanza that was sent, or that there is none of", function ()
	for _, request in ipairs { { stanza = "<iq/>" }, {} } do
		local world = new_asker();
		local answer = world.ask("stanza-check", request);
		world.sent[1].respond { failure = "stanza-required", text = "" };
		equal({ answer.failure, #world.sent }, { "stanza-required", 1 });
	end
end);

test("leaves out a stanza over the limit, and says so", function ()
	local world = new_asker { max_stanza_bytes = 100 };
	world.ask("stanza-check", { stanza = ("x"):rep(100) });
	equal(#world.sent[1].request.stanza, 100);
	world.ask("stanza-check", { stanza = ("x"):rep(101) });
	equal({ world.sent[2].request.stanza or "none", world.sent[2].request.stanza_omitted }, { "none", true });
	world.ask("stanza-check", { stanza = ("x"):rep(101) }, { stanza_on_demand = true });
	world.sent[3].respond { failure = "stanza-required", text = "" };
	equal(world.sent[4].request.stanza_omitted, true);
end);

test("leaves out a stanza that the broker has no room for", function ()
	local world = new_asker();
	world.max_payload = 1000;
	world.ask("stanza-check", { stanza = ("x"):rep(950) });
	equal({ world.sent[1].request.stanza or "none", world.sent[1].request.stanza_omitted }, { "none", true });
	world.ask("stanza-check", { stanza = ("x"):rep(800) });
	check(world.sent[2].request.stanza and world.sent[2].size <= 1000);
	world.max_payload = nil;
	world.ask("stanza-check", { stanza = ("x"):rep(950) });
	check(world.sent[3].request.stanza);
end);

test("lets the asker refuse a reply that makes no sense to him", function ()
	local reply = { verdict = "modify", stanza = "<iq/>" };
	equal(outcome("stanza-check", reply, { verify = function () return false; end }), "bad-reply");
	equal(outcome("stanza-check", reply, { verify = function () error("oops"); end }), "bad-reply");
	equal(outcome("stanza-check", reply, { verify = function (got) return got.stanza == "<iq/>"; end }).verdict, "modify");
end);

test("answers a question that cannot be asked", function ()
	local world = new_asker();
	equal(world.ask("tea-check", {}).failure, "bad-request");
	equal(world.ask("stanza-check", { from = print }).failure, "bad-request");
	equal(world.ask("stanza-check", { stanza = function () error("oops"); end }).failure, "bad-request");
	equal(world.ask("stanza-check", {}, { budget_ms = 0 }).failure, "timeout");
	equal(#world.sent, 0);
	equal(world.asker.stats.failed, { ["bad-request"] = 3, timeout = 1 });
end);

harness.finish();
