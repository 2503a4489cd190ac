-- How counts become reports, against a broker's side that the test plays by hand on a clock that it moves by hand.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local codec = module:require "codec";

local subject = "xmpp.policy.v1.ctl.hook-stats";

-- A reporter, what it reads, and what it sends.
local function new_world(encoding)
	local world = { now = 1000; sent = {}; tasks = {}; counters = {}; gauges = {}; up = false };
	local client = {};
	world.client = client;
	function client.connected() return world.up; end
	function client.on_status(_, listener)
		world.listener = listener;
		return function () if world.listener == listener then world.listener = nil; end end;
	end
	function client.request(_, to, payload, timeout, callback)
		equal({ to, timeout }, { subject, 2 });
		local sending = { payload = payload; report = codec.decode(payload); callback = callback };
		function sending.acknowledge(number)
			callback(nil, { payload = codec.encode({ v = 1; number = number or sending.report.number }, "json") });
		end
		table.insert(world.sent, sending);
	end
	world.options = {
		subject = subject; encoding = encoding or "messagepack";
		sender = { boot_id = "boot"; name = "node one"; kind = "prosody"; version = "0.1.0" };
		now = function () return world.now; end;
		read = function (take)
			for counter, at in pairs(world.counters) do take(at.place, counter, at.counts); end
			local gauges = {};
			for name, value in pairs(world.gauges) do gauges[name] = value; end
			return gauges;
		end;
		add_task = function (seconds, task)
			world.tasks[task] = world.now + seconds;
			return task;
		end;
		stop_task = function (task) world.tasks[task] = nil; end;
	};
	-- As Prosody does it for every host that loads the module: a file of its own each time.
	function world.load()
		world.reporter = module:require "reporter".take_over(world.reporter, world.options);
	end
	function world.pass(seconds)
		local till = world.now + seconds;
		while true do
			local task, at = next(world.tasks);
			for other, due in pairs(world.tasks) do if due < at then task, at = other, due; end end
			if not task or at > till then break; end
			world.now, world.tasks[task] = at, nil;
			local again = task();
			if again then world.tasks[task] = at + again; end
		end
		world.now = till;
	end
	function world.connect()
		world.up = true;
		if world.listener then world.listener("connected", "here", false); end
	end
	function world.last() return world.sent[#world.sent]; end
	world.load();
	return world;
end

local function connected_world(encoding)
	local world = new_world(encoding);
	world.connect();
	world.reporter:run(world.client);
	return world;
end

local function counter(world, place)
	local key = { place = place or "operations"; counts = {} };
	world.counters[key] = key;
	return key.counts, key;
end

test("says who it is and what was counted, about a second after connecting", function ()
	for _, encoding in ipairs { "messagepack", "json" } do
		local world = new_world(encoding);
		local counts = counter(world);
		counts["stanza-check"] = { verdicts = { allow = 3 }, remembered = { allow = 40 }, failures = {}, fallbacks = {} };
		counter(world, "near_cache").hits = 40;
		world.gauges.pending = 2;
		world.reporter:run(world.client);
		world.pass(60);
		equal(#world.sent, 0);
		world.connect();
		world.pass(0.8);
		equal(#world.sent, 0);
		world.pass(0.4);
		equal(#world.sent, 1);
		equal(world.sent[1].payload:sub(1, 1) == "{", encoding == "json");
		local report = world.sent[1].report;
		check(report.gauges.connected_s > 0.8 and report.gauges.connected_s < 1.2);
		report.gauges.connected_s = nil;
		equal(report, {
			v = 1; boot_id = "boot"; name = "node one"; kind = "prosody"; version = "0.1.0"; number = 1;
			operations = { ["stanza-check"] = { verdicts = { allow = 3 }, remembered = { allow = 40 } } };
			near_cache = { hits = 40 }; gauges = { pending = 2 };
		});
	end
end);

test("tells nothing of what was not counted, and reports all the same", function ()
	local world = connected_world();
	world.pass(1.2);
	check(codec.is_map(world.last().report.operations) and codec.is_map(world.last().report.near_cache));
	equal(world.last().report.operations, {});
	world.last().acknowledge();
	world.pass(5.6);
	equal({ #world.sent, world.last().report.number }, { 2, 2 });
end);

test("tells what has come since the last report that was acknowledged", function ()
	local world = connected_world();
	local counts = counter(world);
	counts["stanza-check"] = { verdicts = { allow = 1 } };
	world.pass(1.2);
	counts["stanza-check"].verdicts.allow = 5;
	counts["join-check"] = { failures = { timeout = 1 } };
	world.last().acknowledge();
	world.pass(5.6);
	equal(world.last().report.operations, {
		["stanza-check"] = { verdicts = { allow = 4 } }, ["join-check"] = { failures = { timeout = 1 } },
	});
end);

test("repeats a report as it was while nobody acknowledges it; what was counted meanwhile goes into the next", function ()
	local world = connected_world();
	local counts = counter(world);
	counts["stanza-check"] = { verdicts = { allow = 1 } };
	world.pass(1.2);
	for _, fail in ipairs {
		function (sending) sending.callback("timeout"); end,
		function (sending) sending.callback("no-responders"); end,
		function (sending) sending.callback("disconnected"); end,
		function (sending) sending.callback(nil, { payload = "" }); end,
		function (sending) sending.callback(nil, { payload = "[1]" }); end,
		function (sending) sending.callback(nil, { payload = codec.encode({ v = 2, number = 1 }, "json") }); end,
		function (sending) sending.acknowledge(0); end,
		function (sending) sending.acknowledge(2); end,
		function (sending) sending.callback(nil, { payload = codec.encode({ v = 1, number = "1" }, "json") }); end,
	} do
		counts["stanza-check"].verdicts.allow = counts["stanza-check"].verdicts.allow + 1;
		fail(world.last());
		local before = #world.sent;
		world.pass(5.6);
		equal(#world.sent, before + 1);
		equal(world.last().payload, world.sent[1].payload);
	end
	world.last().acknowledge();
	world.pass(5.6);
	equal({ world.last().report.number, world.last().report.operations["stanza-check"].verdicts.allow }, { 2, 9 });
end);

test("has but one report under way, however late its answer is", function ()
	local world = connected_world();
	world.pass(20);
	equal(#world.sent, 1);
end);

test("sends nothing without a connection, and goes on a second after there is one again", function ()
	local world = connected_world();
	world.pass(1.2);
	world.up = false;
	world.last().callback("disconnected");
	world.listener("disconnected", "cut");
	world.pass(60);
	equal(#world.sent, 1);
	world.connect();
	world.pass(1.2);
	equal(#world.sent, 2);
	equal(world.last().payload, world.sent[1].payload);
end);

test("asks no more on a connection that may not tell, and tries the next", function ()
	local world = connected_world();
	world.pass(1.2);
	world.listener("error", "NATS at here does not permit this connection's publish to the subject x."..subject);
	world.last().callback("timeout");
	world.pass(60);
	equal(#world.sent, 1);
	world.connect();
	world.pass(1.2);
	equal(world.last().payload, world.sent[1].payload);
	equal(#world.sent, 2);
	world.listener("error", "NATS at here does not permit this connection's publish to the subject another");
	world.last().callback("timeout");
	world.pass(5.6);
	equal(#world.sent, 3);
end);

test("loses nothing of who comes and goes, and counts nothing of him twice", function ()
	local world = connected_world();
	local counts, key = counter(world);
	counts["stanza-check"] = { verdicts = { allow = 2 } };
	world.pass(1.2);
	world.last().acknowledge();
	counts["stanza-check"].verdicts.allow = 7;
	world.reporter:read();
	world.reporter:read();
	world.counters[key] = nil;
	counter(world)["stanza-check"] = { verdicts = { allow = 10 } };
	world.pass(5.6);
	equal(world.last().report.operations["stanza-check"].verdicts.allow, 15);
end);

test("goes on where it was when it is loaded anew, on another connection too", function ()
	local world = connected_world();
	local counts = counter(world);
	counts["stanza-check"] = { verdicts = { allow = 2 } };
	world.pass(1.2);
	local first = world.last();
	world.load();
	world.reporter:run(world.client);
	first.callback("timeout");
	world.pass(5.6);
	equal(world.last().payload, first.payload);
	world.last().callback("disconnected");
	world.reporter:pause();
	counts["stanza-check"].verdicts.allow = 3;
	world.pass(60);
	equal(#world.sent, 2);
	local another = {};
	for name, method in pairs(world.client) do another[name] = method; end
	world.options.sender.version = "0.2.0";
	world.load();
	world.reporter:run(another);
	world.pass(1.2);
	equal(world.last().payload, first.payload);
	world.last().acknowledge();
	world.pass(5.6);
	local report = world.last().report;
	equal({ report.number, report.version, report.operations["stanza-check"].verdicts.allow }, { 2, "0.2.0", 1 });
end);

test("is not said at the same moment by all", function ()
	local moments, different = {}, 0;
	for _ = 1, 20 do
		local world = connected_world();
		local _, at = next(world.tasks);
		check(at >= 1000.9 and at <= 1001.1);
		if not moments[at] then different = different + 1; end
		moments[at] = true;
	end
	check(different > 10);
end);

harness.finish();
