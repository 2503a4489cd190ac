-- The one way through which every check passes: ask, count, and take the fallback when there is no answer.
-- What shall be remembered of answers belongs here, between the question and the asking, and nowhere else.
-- Never raises, and always comes back with a verdict.
--
-- local decider = module:require "decide".new(settings, asker, near);
--   asker: ask.lib.lua's, nil when there is none; near: shared_cache.lib.lua's, nil where nothing is remembered
-- decider:decide(operation, side, request, verify) -> verdict      recalled, or else asked for
-- decider:ask(operation, side, request, verify) -> verdict         takes its fallback outside of an async context
--   side: "local" or "remote", whose question it is; verify: see ask.lib.lua
--   verdict: a reply as in ask.lib.lua, what is remembered of one, or the fallback: { verdict = , failure = kind }; not to be changed
-- decider:recall(operation, request) -> verdict, or nil when it is not remembered      never waits, needs no async context
-- decider:hold(operation, request, verdict) -> hit, or nil       just after recall() gave that verdict
-- decider:again(operation, hit) -> verdict, or nil when recall() has to be asked
-- decider:fallback(operation, side, failure) -> verdict
-- decider:answered(operation, verdict), decider:failed(operation, failure, taken): for who asks by himself
-- decider.stats: by operation { verdicts = { [verdict] = n }, remembered = { [verdict] = n }, failures = { [kind] = n },
--   fallbacks = { [verdict] = n } }

local now = require "util.time".monotonic;

-- Of many failures of one kind, one line in so many seconds.
local log_interval = 10;

-- What a sender can bring about himself must not open the door to him.
local provoked = { ["bad-request"] = true, ["too-large"] = true };

local decider_methods = {};
local decider_mt = { __index = decider_methods };

local function count(counts, key)
	counts[key] = (counts[key] or 0) + 1;
end

function decider_methods:counts(operation)
	local counts = self.stats[operation];
	if not counts then
		counts = { verdicts = {}, remembered = {}, failures = {}, fallbacks = {} };
		self.stats[operation] = counts;
	end
	return counts;
end

function decider_methods:report(operation, failure, taken)
	local key = operation.." "..failure.." "..taken;
	local last = self.reported[key];
	if last and now() - last.at < log_interval then
		last.unreported = last.unreported + 1;
		return;
	end
	module:log("warn", "%s failed: %s, so: %s%s", operation, failure, taken,
		last and last.unreported > 0 and (" (and "..last.unreported.." times before)") or "");
	self.reported[key] = { at = now(), unreported = 0 };
end

function decider_methods:answered(operation, verdict)
	count(self:counts(operation).verdicts, verdict);
end

function decider_methods:failed(operation, failure, taken)
	local counts = self:counts(operation);
	count(counts.failures, failure);
	count(counts.fallbacks, taken);
	self:report(operation, failure, taken);
end

function decider_methods:fallback(operation, side, failure)
	local verdict = provoked[failure] and "deny" or self.settings.fallback[operation][side];
	self:failed(operation, failure, verdict);
	return { verdict = verdict, failure = failure };
end

function decider_methods:recall(operation, request)
	local verdict = self.near and self.near:recall(operation, request);
	if verdict then count(self:counts(operation).remembered, verdict.verdict); end
	return verdict;
end

function decider_methods:hold(operation, request, verdict)
	return self.near:hold(operation, request, verdict);
end

function decider_methods:again(operation, hit)
	local verdict = self.near:again(hit);
	if verdict then count(self.stats[operation].remembered, verdict.verdict); end
	return verdict;
end

function decider_methods:ask(operation, side, request, verify)
	if not self.asker then return self:fallback(operation, side, "disconnected"); end
	local answered = self.near and self.near:ask(operation, request);
	local reply, failure = self.asker:wait(operation, request, {
		budget_ms = self.settings.budgets_ms[operation];
		verify = verify;
	});
	if not reply then return self:fallback(operation, side, failure); end
	if answered then answered(reply); end
	self:answered(operation, reply.verdict);
	return reply;
end

function decider_methods:decide(operation, side, request, verify)
	return self:recall(operation, request) or self:ask(operation, side, request, verify);
end

local function new(settings, asker, near)
	return setmetatable({ settings = settings, asker = asker, near = near, stats = {}, reported = {} }, decider_mt);
end

return { new = new };
