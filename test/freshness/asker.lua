-- An asker for the freshness checker: a process of its own that asks as the Prosody hook does, first from the near cache,
-- else from the workers, and writes down what it was told. The near cache is the very file that ships.
--
-- lua5.4 asker.lua --nats URL[,URL...] [--OPTION VALUE]...
--   --nats         brokers, tried in random order; others that they tell of are not learnt, so that what stands before
--                  one of them (a proxy that cuts and holds) is never gone round
--   --prefix       subject prefix (xmpp.policy.v1)
--   --name         who announces itself on <prefix>.ctl.seen (asker-<seed>)
--   --seed         of what is asked in which order (1); identities and inboxes are random
--   --users        (24) user i is u<i>@d<i mod domains>.test, 0 <= i < users
--   --domains      (3)
--   --rooms        (6) room k is r<k>@rooms<k mod domains>.test
--   --joins        share of join-checks among the questions (0.2), the others are stanza-checks of two different users
--   --rate         questions a second (1000); what a stop or a slow moment has missed is not made up for
--   --concurrency  questions to the workers at a time (64); a miss beyond that is not asked, and counted as skipped
--   --budget-ms    (250)
--   --bound-ms     the staleness bound of the near cache (2000)
--   --max-entries, --max-stamps   of the near cache (its own defaults)
--   --encoding     messagepack or json (messagepack)
--   --library      folder of the hook's files, for one with a planted fault (../../deploy/prosody/mod_warder)
--   --duration     seconds (until it is ended); 0.1 s of history at most is lost when it is killed
--
-- After each sleep it asks before it reads, so that who was stopped is asked while all that it missed is still unread.
--
-- The history goes to stdout, one JSON list a line, in the order of events. Times are microseconds of CLOCK_MONOTONIC,
-- the same for all processes of one machine (process.hrtime.bigint() / 1000n in Node). Q names a question: "s3.17" is user
-- 3 to user 17 (bare JIDs by the scope; both send with a resource), "j3.2" user 3 into room 2. SEEN is what the near
-- cache had seen when it was asked, and went to the worker as min_seq. REASON is the reply's reason as the source gave it,
-- "" without one: the version that was answered, or was remembered.
--   ["i",TIME,{"v":1,"name":,"boot_id":,"pid":,"seed":,"users":,"domains":,"rooms":}]   first line
--   ["h",Q,ASKED,SEEN,SEQ,VERDICT,REASON]            a hit in the near cache; SEQ is the floor that it is kept with. It is
--                                                    answered where it is asked: ASKED was read before anything else.
--                                                    Without JetStream SEQ is the cache's own count and means nothing
--   ["a",Q,ASKED,ANSWERED,SEEN,SEQ,VERDICT,REASON,AGE_MS,TTL_MS,SCOPE]   a worker's answer within the budget
--   ["d",Q,ASKED,ANSWERED,SEEN,SEQ,VERDICT,REASON,DEGRADED]              the same, where it is a configured fallback
--   ["f",Q,ASKED,ENDED,SEEN,KIND]                    no answer: the worker's failure kind, or one of timeout,
--                                                    no-responders, disconnected, bad-reply
--   ["e",TIME,"connected",SERVER,HAS_JETSTREAM] ["e",TIME,"disconnected",REASON] ["e",TIME,"woke",MICROSECONDS_ASLEEP]
--   ["e",TIME,"settled",SEQUENCE]                    the first number of a connection
--   ["e",TIME,"gap",SEEN_BEFORE,SEQUENCE] ["e",TIME,"lower",SEEN,SEQUENCE] ["e",TIME,"foreign",STREAM,SEQUENCE]
--   ["s",TIME,SEEN,{near cache's stats(), and "asked":,"skipped":}]      each second, and at the end
--   ["z",TIME]                                       last line, when it ended by --duration
-- All of an answer is in its line and a hit is about 60 bytes, so nothing is aggregated: 1,000,000 are 60 MB.

local here = arg[0]:match("^(.*)/[^/]*$") or ".";
package.path = here.."/?.lua;/usr/lib/prosody/?.lua;"..package.path;
package.cpath = "/usr/lib/prosody/?.so;"..package.cpath;

local socket = require "socket";
local monotonic = require "util.time".monotonic;
local prepped_split = require "util.jid".prepped_split;
local hashes = require "util.hashes";
local getpid = require "util.pposix".getpid;
local histories = require "history";
local nats_socket = require "nats_socket";
local raw, quote = histories.raw, histories.quote;

local options = {
	prefix = "xmpp.policy.v1", seed = 1, users = 24, domains = 3, rooms = 6, joins = 0.2, rate = 1000, concurrency = 64,
	["budget-ms"] = 250, ["bound-ms"] = 2000, encoding = "messagepack", library = here.."/../../deploy/prosody/mod_warder",
	duration = math.huge,
};
local texts = { nats = true, prefix = true, name = true, encoding = true, library = true };
local numbers = { ["max-entries"] = true, ["max-stamps"] = true };

for i = 1, #arg, 2 do
	local name = arg[i]:match("^%-%-(.+)$");
	local is_text, is_number = texts[name], numbers[name] or type(options[name]) == "number";
	local value = is_number and tonumber(arg[i + 1]) or is_text and arg[i + 1];
	if not value then
		io.stderr:write("asker: cannot understand "..arg[i].." "..tostring(arg[i + 1]).."\n");
		os.exit(2);
	end
	options[name] = value;
end
if not options.nats then
	io.stderr:write("asker: --nats is missing\n");
	os.exit(2);
end
options.name = options.name or "asker-"..options.seed;

-- What Prosody gives to the files of a module.
module = {};
function module.require(_, name)
	return assert(loadfile(options.library.."/"..name..".lib.lua"))();
end

local codec = module:require "codec";
local invalidation = module:require "invalidation";
local near_cache = module:require "near_cache";
local protocol = module:require "nats_protocol";
local replies = module:require "replies";

local function random_hex(bytes)
	local file = assert(io.open("/dev/urandom", "rb"));
	local text = file:read(bytes):gsub(".", function (byte) return ("%02x"):format(byte:byte()); end);
	file:close();
	return text;
end

-- xorshift64*, for the questions alone, so that they follow from the seed whatever else is random.
local state = options.seed * 2 + 1;
local function random(n)
	state = state ~ (state >> 12);
	state = state ~ (state << 25);
	state = state ~ (state >> 27);
	return ((state * 0x2545F4914F6CDD1D) >> 11) % n;
end
for _ = 1, 20 do random(2); end

local boot_id, inbox = random_hex(12), "_INBOX.asker."..random_hex(12)..".";
local budget = options["budget-ms"] / 1000;
local history = histories.new(io.stdout, monotonic);
local micros = histories.micros;
local cache = near_cache.new {
	clock = monotonic; bound = options["bound-ms"] / 1000;
	max_entries = options["max-entries"]; max_stamps = options["max-stamps"];
};
local decode_change = invalidation.new_decoder { decode = codec.decode, split = prepped_split };
local stream_name = invalidation.stream_name(options.prefix, function (text) return hashes.sha256(text, true); end);
local invalidated, invalidate = options.prefix..".invalidated", options.prefix..".invalidate";

-- Each question once, so that asking makes no new one.
local function user(i) return ("u%d@d%d.test"):format(i, i % options.domains); end

local function stanza_question(i, j)
	local from, to = user(i).."/phone", user(j);
	return { name = ("s%d.%d"):format(i, j), operation = "stanza-check", request = {
		hook = "send", kind = "message", type = "chat", from = from, to = to;
		stanza = ("<message type='chat' from='%s' to='%s'><body>x</body></message>"):format(from, to);
	} };
end

local function join_question(i, k)
	return { name = ("j%d.%d"):format(i, k), operation = "join-check", request = {
		user = user(i).."/phone", room = ("r%d@rooms%d.test"):format(k, k % options.domains);
		nick = "u"..i, event = "join", creating = false;
	} };
end

local stanza_questions, join_questions = {}, {};
for i = 0, options.users - 1 do
	for j = 0, options.users - 1 do
		if i ~= j then stanza_questions[#stanza_questions + 1] = stanza_question(i, j); end
	end
	for k = 0, options.rooms - 1 do join_questions[#join_questions + 1] = join_question(i, k); end
end

local function next_question()
	local questions = random(1000) < options.joins * 1000 and #join_questions > 0 and join_questions or stanza_questions;
	return questions[random(#questions) + 1];
end

local nats;
local pending, pending_count, first_pending, last_pending = {}, 0, 1, 0;
local asked, skipped = 0, 0;

local function event(name, ...)
	history:write("e", micros(monotonic()), name, ...);
end

-- To the workers.

local function finish(number)
	local waiting = pending[number];
	if waiting then pending[number], pending_count = nil, pending_count - 1; end
	return waiting;
end

local function write_failure(waiting, failure)
	history:write("f", waiting.question.name, micros(waiting.asked_at), micros(monotonic()), waiting.seen, failure);
end

local function ask_workers(question, asked_at, seen)
	if pending_count >= options.concurrency then
		skipped = skipped + 1;
		return;
	end
	local ticket = cache:ask(question.operation, question.request);
	local number = last_pending + 1;
	local id = ("%s%x"):format(boot_id, number);
	local payload = { v = 1, id = id, server = options.name, budget_ms = options["budget-ms"], min_seq = ticket.min_seq };
	for name, value in pairs(question.request) do payload[name] = value; end
	local waiting = { question = question, asked_at = asked_at, seen = seen, ticket = ticket, id = id };
	if not nats:publish(options.prefix.."."..question.operation, codec.encode(payload, options.encoding), inbox..number) then
		return write_failure(waiting, "disconnected");
	end
	last_pending = number;
	pending[number], pending_count = waiting, pending_count + 1;
end

local function on_reply(message)
	local waiting = finish(tonumber(message.subject:sub(#inbox + 1)));
	if not waiting then return; end -- too late
	local now, question = monotonic(), waiting.question;
	if now > waiting.asked_at + budget then return write_failure(waiting, "timeout"); end
	if message.status == 503 and message.payload == "" then return write_failure(waiting, "no-responders"); end
	local reply, failure = codec.decode(message.payload);
	if reply then reply, failure = replies.check(question.operation, reply, waiting.id); end
	if not reply then return write_failure(waiting, failure); end
	cache:answered(waiting.ticket, reply);
	local tag = reply.degraded and "d" or "a";
	local name, from, to = question.name, micros(waiting.asked_at), micros(now);
	if tag == "d" then
		history:write(tag, name, from, to, waiting.seen, reply.seq or 0, reply.verdict, reply.reason or "", reply.degraded);
	else
		history:write(tag, name, from, to, waiting.seen, reply.seq or 0, reply.verdict, reply.reason or "",
			reply.age_ms or 0, reply.ttl_ms or 0, reply.scope);
	end
end

-- All have the same budget, so the first asked is the first to end.
local function end_overdue(now)
	while first_pending <= last_pending do
		local waiting = pending[first_pending];
		if waiting and now <= waiting.asked_at + budget then return; end
		if waiting then write_failure(finish(first_pending), "timeout"); end
		first_pending = first_pending + 1;
	end
end

local function end_all(failure)
	for number = first_pending, last_pending do
		local waiting = finish(number);
		if waiting then write_failure(waiting, failure); end
	end
	first_pending = last_pending + 1;
end

local function ask()
	asked = asked + 1;
	local question = next_question();
	local asked_at, seen = monotonic(), cache:seen();
	local verdict = cache:get(question.operation, question.request);
	if not verdict then return ask_workers(question, asked_at, seen); end
	history:write("h", question.name, micros(asked_at), seen, verdict.seq, verdict.verdict, verdict.reason or "");
end

local due, due_at = 0, monotonic();
local max_due = math.max(1, options.rate / 20);

local function ask_due(now)
	due, due_at = math.min(max_due, due + (now - due_at) * options.rate), now;
	while due >= 1 do
		due = due - 1;
		ask();
	end
end

-- Changes, and what everybody is told about what was seen.

local announced_at, announced_seen = -math.huge, nil;

local function announce(now)
	local wait = cache:seen() ~= announced_seen and 0.1 or 1;
	if now - announced_at < wait or not nats.is_up then return; end
	announced_at, announced_seen = now, cache:seen();
	nats:publish(options.prefix..".ctl.seen", ('{"v":1,"kind":"hook","boot_id":%s,"name":%s,"seen":%d}')
		:format(quote(boot_id), quote(options.name), announced_seen));
end

local is_settled = false;

local function on_numbered(message)
	local sequence = invalidation.sequence_of(message.headers, stream_name);
	if not sequence then
		local last = protocol.last_header;
		return event("foreign", last(message.headers, "Nats-Stream") or "", last(message.headers, "Nats-Sequence") or "");
	end
	local before = cache:seen();
	cache:numbered(sequence, decode_change(message.payload));
	if not is_settled then
		is_settled = true;
		event("settled", sequence);
	elseif sequence > before + 1 then
		event("gap", before, sequence);
	elseif sequence < before then
		event("lower", before, sequence);
	end
end

nats = nats_socket.new {
	protocol = protocol; servers = module:require "nats_servers"; socket = socket; clock = monotonic;
	urls = options.nats; name = options.name; random = math.random;
	subjects = { invalidated, invalidate, inbox.."*" };
	on_up = function (label, has_jetstream)
		is_settled = false;
		cache:connected(has_jetstream);
		event("connected", label, raw(tostring(has_jetstream)));
	end;
	on_lost = function (reason)
		event("disconnected", reason);
		end_all("disconnected");
	end;
	on_message = function (message)
		if message.subject == invalidated then
			on_numbered(message);
		elseif message.subject == invalidate then
			cache:heard(decode_change(message.payload));
		else
			on_reply(message);
		end
	end;
};

local function write_stats()
	local stats = cache:stats();
	stats.asked, stats.skipped = asked, skipped;
	local parts = {};
	for name, value in pairs(stats) do parts[#parts + 1] = ("%q:%.6g"):format(name, value); end
	table.sort(parts);
	history:write("s", micros(monotonic()), cache:seen(), raw("{"..table.concat(parts, ",").."}"));
end

local begun = monotonic();
local stats_at, awake_at = begun, begun;

local function look_at_clock()
	local now = monotonic();
	if now - awake_at > 0.5 then event("woke", micros(now - awake_at)); end
	awake_at = now;
	return now;
end

history:write("i", micros(begun), raw(('{"v":1,"name":%s,"boot_id":%s,"pid":%d,"seed":%d,"users":%d,"domains":%d,"rooms":%d}')
	:format(quote(options.name), quote(boot_id), getpid(), options.seed, options.users, options.domains, options.rooms)));

while true do
	local now = look_at_clock();
	if now - begun >= options.duration then break; end
	ask_due(now);
	end_overdue(monotonic());
	nats:run();
	announce(now);
	nats:flush();
	if now - stats_at >= 1 then
		stats_at = now;
		write_stats();
	end
	history:flush_if_due();
	local readable, writable = nats:sockets();
	if #readable == 0 then
		socket.sleep(0.002);
	else
		readable, writable = socket.select(readable, writable, 0.002);
	end
	-- Before it reads what has come meanwhile.
	ask_due(look_at_clock());
	if readable[1] then nats:read(); end
	if writable[1] then nats:flush(); end
end

write_stats();
history:write("z", micros(monotonic()));
history:flush();
