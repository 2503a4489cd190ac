-- Asking one operation of the workers: fills in the envelope, sends, and lets only a reply through that is one.
-- Knows the wire protocol; knows neither stanzas nor fallbacks. Never raises.
--
-- local ask = module:require "ask";
-- local asker = ask.new {
--   client = client;                      -- nats.lib's
--   server = "node name";                 -- who asks, for the workers' logs
--   prefix = "xmpp.policy.v1";
--   max_stanza_bytes = 65536;
--   encoding = "messagepack";             -- or "json"
--   min_seq = function () return 0; end;  -- the sequence that the answer must know
-- };
-- asker:ask(operation, request, options, callback)   callback(reply) or callback(nil, failure), exactly once, possibly
--     before ask() returns
-- asker:wait(operation, request, options) -> reply, or nil, failure       inside an async context; else nil, "not-async"
--   operation: "stanza-check", "join-check", "session-check", "roster-refresh", "roster-set", "roster-subscription", "user-removed"
--   request: the operation's own fields; v, id, server, budget_ms, min_seq are filled in here (the table is not changed).
--     request.stanza may be a string, or a function that returns one and is called only if the stanza is sent.
--     An empty table in it is a list.
--   options.budget_ms: how long to wait in all (required)
--   options.stanza_on_demand: send the stanza only when a worker asks for it
--   options.id: the request's own, where it is the mark of one event that may be told again; else a random one
--   options.verify(reply) -> true when the reply makes sense to the caller too; else it counts as "bad-reply"
--   failure: "no-responders", "timeout", "disconnected", "bad-reply", "bad-request", "too-large", "expired", "overloaded",
--     "stanza-required", "source-unavailable", "internal", "not-async"
-- reply: the operation's fields as on the wire, each of the right type or nil; unknown fields as they came.
--   verdicts: reply.verdict, .error { type, condition, text, xml }, .notify, .stanza, .reason, .ttl_ms, .scope ("none" for an
--     unknown one), .degraded, .item (roster-set)
--   roster-refresh: reply.status, .message, .updated, .errors, .rosters, .failed
--   reply.asked_at, reply.answered_at: monotonic seconds
-- asker.stats: { asked = n, answered = n, retried = n, hedged = n, rescued = n, failed = { [failure] = n } }
--   hedged: asked a second time because half of the budget had passed in silence; rescued: and answered the second time
-- For tests options may bring their own now() in monotonic seconds, add_task(seconds, callback), random_id() and log(level, ...).

local codec = module:require "codec";
local replies = module:require "replies";

local pairs, pcall, setmetatable, type, tostring = pairs, pcall, setmetatable, type, tostring;
local floor, min = math.floor, math.min;

-- How long a queue group may be empty while its last worker is being replaced.
local no_responders_pause = 0.05;

-- These carry their id to the application as the mark of one event; a second asking would be a second event.
local asked_once = { ["roster-set"] = true, ["roster-subscription"] = true, ["user-removed"] = true };

-- Whoever was asked may have been stopped, and is not missed by the broker yet: after this part of the budget another may
-- be asked. Where all are slow that would only double their work, so what was asked in vain is bounded: by one in four
-- questions, with so many to begin with. What was answered by the second asking first is not counted as that.
local hedged = { ["stanza-check"] = true, ["join-check"] = true, ["session-check"] = true };
local hedge_after = 0.5;
local hedges_earned, hedges_spare = 0.25, 20;

local asker_methods = {};
local asker_mt = { __index = asker_methods };

local function new(options)
	local random_id = options.random_id;
	if not random_id then
		local random_bytes, to_hex = require "util.random".bytes, require "util.hex".encode;
		function random_id() return to_hex(random_bytes(16)); end
	end
	return setmetatable({
		client = options.client;
		server = options.server or "";
		prefix = options.prefix or "xmpp.policy.v1";
		max_stanza_bytes = options.max_stanza_bytes or 65536;
		encoding = options.encoding or codec.default;
		min_seq = options.min_seq or function () return 0; end;
		now = options.now or require "util.time".monotonic;
		add_task = options.add_task or require "util.timer".add_task;
		log = options.log or require "util.logger".init("warder.ask");
		random_id = random_id;
		hedges = hedges_spare;
		stats = { asked = 0; answered = 0; retried = 0; hedged = 0; rescued = 0; failed = {} };
	}, asker_mt);
end

local function read_stanza(stanza)
	if type(stanza) == "function" then return stanza(); end
	return stanza;
end

-- The payload of one sending; nil, failure when it cannot be sent at all.
local function build(self, question, id, remaining)
	local payload = {};
	for name, value in pairs(question.request) do payload[name] = value; end
	payload.v, payload.id, payload.server = 1, id, self.server;
	payload.budget_ms = floor(remaining * 1000);
	payload.min_seq = self.min_seq();
	payload.stanza = nil;
	if question.with_stanza then
		local stanza = read_stanza(question.request.stanza);
		if #stanza <= self.max_stanza_bytes then
			payload.stanza = stanza;
		else
			payload.stanza_omitted = true;
		end
	end
	local most = self.client:max_payload();
	local bytes = codec.encode(payload, self.encoding);
	if most and #bytes > most and payload.stanza then
		payload.stanza, payload.stanza_omitted = nil, true;
		bytes = codec.encode(payload, self.encoding);
	end
	return bytes;
end

local function finish(self, question, reply, failure)
	question.done = true;
	if failure then
		self.stats.failed[failure] = (self.stats.failed[failure] or 0) + 1;
	else
		self.stats.answered = self.stats.answered + 1;
	end
	question.callback(reply, failure);
end

local send;

local function send_again(self, question)
	self.stats.retried = self.stats.retried + 1;
	send(self, question);
end

-- A second sending is the last.
local function may_ask_again(question)
	return not question.again and not asked_once[question.operation];
end

-- The reply, if it is one.
local function read(question, id, message)
	if message.oversize then return nil, "bad-reply", "too large"; end
	local reply, failure, detail = codec.decode(message.payload);
	if reply then reply, failure, detail = replies.check(question.operation, reply, id); end
	if reply and question.verify then
		local ok, sensible = pcall(question.verify, reply);
		if not ok or not sensible then
			return nil, "bad-reply", ok and "the asker cannot use it" or tostring(sensible);
		end
	end
	return reply, failure, detail;
end

-- A sender can provoke these: they are as good as an answer.
local final = { ["bad-request"] = true, ["too-large"] = true };

-- Of two sendings the first reply counts; another failure of one waits for the other.
local function on_answer(self, question, sending, err, message)
	if question.done then return; end
	question.open = question.open - 1;
	local now = self.now();
	if err == "no-responders" and may_ask_again(question) and now + no_responders_pause < question.deadline then
		question.again = true;
		self.add_task(no_responders_pause, function () send_again(self, question); end);
		return;
	end
	local reply, failure, detail;
	if err or now > question.deadline then
		failure = err or "timeout";
	else
		reply, failure, detail = read(question, sending.id, message);
	end
	-- Where the stanza was asked for and is too large to send, the second asking says so.
	local could_have_it = question.request.stanza ~= nil and not question.with_stanza;
	if failure == "stanza-required" and could_have_it and may_ask_again(question) then
		question.again, question.with_stanza = true, true;
		return send_again(self, question);
	end
	if failure then
		if not err then
			self.log(failure == "bad-reply" and "warn" or "debug", "No answer to %s: %s%s",
				question.operation, failure, detail and " ("..detail..")" or "");
		end
		if not err and final[failure] then return finish(self, question, nil, failure); end
		question.failure = question.failure or failure;
		if question.open == 0 then finish(self, question, nil, question.failure); end
		return;
	end
	if sending.is_hedge then
		self.hedges = self.hedges + 1;
		self.stats.rescued = self.stats.rescued + 1;
	end
	reply.asked_at, reply.answered_at = sending.asked_at, now;
	finish(self, question, reply);
end

function send(self, question, is_hedge)
	question.open = question.open + 1;
	local sending = { asked_at = self.now(); is_hedge = is_hedge };
	local remaining = question.deadline - sending.asked_at;
	if remaining < 0.001 then return on_answer(self, question, sending, "timeout"); end
	sending.id = question.id or self.random_id();
	local ok, bytes = pcall(build, self, question, sending.id, remaining);
	if not ok then
		self.log("error", "Cannot ask %s: %s", question.operation, tostring(bytes));
		return on_answer(self, question, sending, "bad-request");
	end
	self.client:request(self.prefix.."."..question.operation, bytes, remaining, function (err, message)
		on_answer(self, question, sending, err, message);
	end);
end

-- With the stanza if there is one: there will be no third sending for who wants it.
local function hedge(self, question)
	if question.done or question.again or self.hedges < 1 then return; end
	self.hedges = self.hedges - 1;
	self.stats.hedged = self.stats.hedged + 1;
	question.again, question.with_stanza = true, question.request.stanza ~= nil;
	send(self, question, true);
end

function asker_methods:ask(operation, request, options, callback)
	self.stats.asked = self.stats.asked + 1;
	local now = self.now();
	local question = {
		operation = operation; request = request; callback = callback; id = options.id;
		verify = options.verify; with_stanza = request.stanza ~= nil and not options.stanza_on_demand;
		deadline = now + options.budget_ms / 1000;
		open = 0; -- sendings that have no answer yet
	};
	self.hedges = min(self.hedges + hedges_earned, hedges_spare);
	if not replies.operations[operation] then
		self.log("error", "There is no operation %s", tostring(operation));
		return finish(self, question, nil, "bad-request");
	end
	send(self, question);
	if hedged[operation] and not question.done then
		self.add_task((question.deadline - now) * hedge_after, function () hedge(self, question); end);
	end
end

function asker_methods:wait(operation, request, options)
	local async = require "util.async";
	if not async.ready() then
		self.stats.failed["not-async"] = (self.stats.failed["not-async"] or 0) + 1;
		return nil, "not-async";
	end
	local wait, done = async.waiter();
	local reply, failure;
	self:ask(operation, request, options, function (...)
		reply, failure = ...;
		done();
	end);
	wait();
	return reply, failure;
end

return { new = new };
