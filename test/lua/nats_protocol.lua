package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local protocol = module:require "nats_protocol";

local stream = 'INFO {"server_id":"A","max_payload":1048576}\r\n'
	.."PING\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n"
	.."MSG a.b 1 5\r\nhello\r\n"
	.."MSG a.b 2 _INBOX.x.1 0\r\n\r\n"
	.."MSG  a\t 3   4 \r\n\r\n\r\n\r\n"
	.."HMSG _INBOX.x.2 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
	.."HMSG s 9 r.r 50 54\r\nNATS/1.0\r\nNats-Sequence: 1\r\nNats-Sequence:  2 \r\n\r\nbody\r\n"
	.."ping\r\n";

local function read_all(parser, operations)
	while true do
		local operation, err = parser:next();
		if not operation then return operations, err; end
		table.insert(operations, operation);
	end
end

local function read(bytes, options)
	local parser = protocol.new_parser(options);
	parser:push(bytes);
	return read_all(parser, {});
end

local function summary(operations)
	local list = {};
	for _, o in ipairs(operations) do
		table.insert(list, { o.kind, o.json, o.text, o.subject, o.sid, o.reply or "-", o.payload, o.status,
			o.headers and o.headers["Nats-Sequence"], o.oversize });
	end
	return list;
end

test("reads every operation", function ()
	local operations, err = read(stream);
	equal(err, nil);
	local kinds = {};
	for _, operation in ipairs(operations) do table.insert(kinds, operation.kind); end
	equal(kinds, { "INFO", "PING", "PONG", "+OK", "-ERR", "MSG", "MSG", "MSG", "MSG", "MSG", "PING" });
	equal(operations[1].json, '{"server_id":"A","max_payload":1048576}');
	equal(operations[5].text, "Stale Connection");
	equal({ operations[6].subject, operations[6].sid, operations[6].payload }, { "a.b", "1", "hello" });
	equal({ operations[7].reply, operations[7].payload }, { "_INBOX.x.1", "" });
	equal(operations[8].payload, "\r\n\r\n");
	equal({ operations[9].status, operations[9].payload }, { 503, "" });
	equal(operations[10].headers, { ["Nats-Sequence"] = { "1", "2" } });
	equal({ operations[10].payload, operations[10].reply }, { "body", "r.r" });
end);

test("reads the same in whatever pieces it comes", function ()
	local expected = summary(read(stream));
	local random = harness.random(7);
	for _ = 1, 2000 do
		local parser, operations = protocol.new_parser(), {};
		local at = 1;
		while at <= #stream do
			local size = random(1, random(1, 40));
			parser:push(stream:sub(at, at + size - 1));
			at = at + size;
			if random(3) > 1 then check(select(2, read_all(parser, operations)) == nil, "broken"); end
		end
		read_all(parser, operations);
		equal(summary(operations), expected);
	end
end);

test("keeps headers in order, with the last value at hand", function ()
	local headers, status, text = protocol.parse_headers("NATS/1.0 503 No Responders\r\nA: 1\r\nB:x\r\nA: 2\r\nempty:\r\n\r\n");
	equal({ status, text }, { 503, "No Responders" });
	equal(headers, { A = { "1", "2" }, B = { "x" }, empty = { "" } });
	equal(protocol.last_header(headers, "A"), "2");
	equal(protocol.last_header(headers, "C"), nil);
	equal(protocol.last_header(nil, "A"), nil);
end);

test("delivers a message whose headers are malformed", function ()
	local operations, err = read("HMSG s 1 9 12\r\nNONSENSE!abc\r\nHMSG s 1 21 21\r\nNATS/1.0\r\nnocolon\r\n\r\n\r\n");
	equal(err, nil);
	equal({ operations[1].payload, operations[1].headers }, { "abc" });
	equal({ operations[2].payload, operations[2].headers }, { "", {} });
end);

test("skips a payload over the limit, and goes on after it", function ()
	local big = ("x"):rep(1000);
	for size = 1, 300, 7 do
		local parser, operations = protocol.new_parser { max_payload = 100 }, {};
		local bytes = "MSG a 1 1000\r\n"..big.."\r\nHMSG a 1 20 1000\r\n"..big.."\r\nMSG a 1 2\r\nok\r\n";
		for at = 1, #bytes, size do
			parser:push(bytes:sub(at, at + size - 1));
			read_all(parser, operations);
			check(parser:unread() <= 100 + 2 + size, "the payload was kept");
		end
		equal(#operations, 3);
		equal({ operations[1].oversize, operations[1].payload }, { true, "" });
		equal({ operations[2].oversize, operations[2].payload }, { true, "" });
		equal(operations[3].payload, "ok");
	end
end);

test("takes a payload of exactly the limit", function ()
	equal(read("MSG a 1 4\r\nabcd\r\n", { max_payload = 4 })[1].payload, "abcd");
end);

test("ends at a line that never ends", function ()
	local parser = protocol.new_parser { max_line = 100 };
	for _ = 1, 100 do parser:push("x"); end
	equal(parser:next(), nil);
	parser:push("x");
	local _, err = parser:next();
	equal(err, "line too long");
	parser:push("PING\r\n");
	equal(select(2, parser:next()), "line too long");
	equal(select(2, read(("x"):rep(200).."\r\n", { max_line = 100 })), "line too long");
end);

test("ends at what is no NATS", function ()
	for _, bytes in ipairs {
		"HTTP/1.1 400 Bad Request\r\n", "\r\n", "MSG\r\n", "MSG a\r\n", "MSG a 1\r\n", "MSG a 1 -5\r\n", "MSG a 1 1e3\r\n", "MSG a 1 0x10\r\n",
		"MSG a 1 b c 5\r\n", "MSG a 1 99999999999999999999\r\n", "HMSG a 1 5\r\n", "HMSG a 1 6 5\r\nNATS/1.0\r\n", "MSG a 1 2\r\nabc\r\n",
		"MSG a 1 2\r\nabXY",
	} do
		local operations, err = read(bytes);
		equal(operations, {}, bytes);
		check(err, bytes.." was taken");
	end
end);

test("survives garbage", function ()
	local random = harness.random(11);
	local words = { "MSG ", "HMSG ", "INFO ", "PING", "\r\n", "\n", " ", "\t", "1 ", "22 ", "a.b ", "NATS/1.0", ": ", "\0", "\255", "-ERR '" };
	for _ = 1, 3000 do
		local parser = protocol.new_parser { max_line = 200, max_payload = 50 };
		for _ = 1, random(1, 60) do
			local piece = random(2) == 1 and words[random(#words)] or string.char(random(0, 255)):rep(random(1, 30));
			parser:push(piece);
			local operations, err = read_all(parser, {});
			for _, operation in ipairs(operations) do check(operation.kind); end
			if err then break; end
			check(parser:unread() <= 400, "more is kept than the limits allow");
		end
	end
end);

test("writes what a server reads", function ()
	equal({ protocol.publish("a.b", "hi") }, { "PUB a.b 2\r\nhi\r\n", 2 });
	equal({ protocol.publish("a.b", "", "_INBOX.x") }, { "PUB a.b _INBOX.x 0\r\n\r\n", 0 });
	local bytes, size = protocol.publish("a", "hi", nil, { { "K", "v" }, { "K", "w" } });
	equal(bytes, "HPUB a 24 26\r\nNATS/1.0\r\nK: v\r\nK: w\r\n\r\nhi\r\n");
	equal(size, 26);
	equal(protocol.publish("a", "hi", nil, {}), "PUB a 2\r\nhi\r\n");
	equal(protocol.subscribe("a.>", 3), "SUB a.> 3\r\n");
	equal(protocol.subscribe("a.>", 3, "q"), "SUB a.> q 3\r\n");
	equal(protocol.unsubscribe(3), "UNSUB 3\r\n");
	equal(protocol.connect("{}"), "CONNECT {}\r\n");
end);

test("writes nothing that would break out of its line", function ()
	for _, subject in ipairs { "", "a b", "a\r\nPUB b 0", "a..b", ".a", "a.", "a.*", "a.>", "a\tb", "a\0" } do
		equal({ protocol.publish(subject, "x") }, { nil, "bad-subject" }, subject);
		equal({ protocol.publish("a", "x", subject) }, { nil, "bad-subject" }, subject);
	end
	equal({ protocol.publish(nil, "x") }, { nil, "bad-subject" });
	for _, header in ipairs { { "A b", "x" }, { "A:", "x" }, { "", "x" }, { "A", "x\r\nB: y" }, { "A\n", "x" }, { "A", 5 } } do
		equal({ protocol.publish("a", "x", nil, { header }) }, { nil, "bad-header" });
	end
end);

test("knows patterns", function ()
	for _, good in ipairs { "a", "a.b", "*", ">", "a.*.b", "*.*", "a.>", "*.>", "$SRV.PING" } do
		check(protocol.is_pattern(good), good.." is a pattern");
	end
	for _, bad in ipairs { "", ".", "a.", ".a", "a..b", "a b", ">.a", "a*", "a.>b", "a.b*", "**", ">>", "a\r\n" } do
		check(not protocol.is_pattern(bad), bad.." is no pattern");
	end
end);

harness.finish();
