-- The near cache against two models, at random with fixed seeds.
--
-- The oracle remembers everything that ever happened and searches through all of it: what it forbids must never be
-- served, and what it allows must be served where nothing had to be evicted.
--
-- The cluster has a stream, workers and a true version of each decision, and loses, delays and repeats what it can: what
-- is promised must hold whatever it does. It runs against files with planted faults too, to show that it would notice.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;

local operation, other_operation = "stanza-check", "join-check";
local bound = 2;
local users = {};
for i = 1, 6 do users[i] = "u"..i.."@d"..(i % 2)..".example"; end

local function domain_of(jid) return jid:match("@(.*)$"); end

local function random_change(random)
	local kind = random(12);
	if kind == 1 then return { all = true };
	elseif kind == 2 then return { domain = domain_of(users[random(#users)]) };
	elseif kind == 3 then return { operation = random(2) == 1 and operation or other_operation };
	elseif kind <= 6 then return { room = users[random(#users)] };
	end
	return { user = users[random(#users)] };
end

local function touches(change, request)
	return change.all or change.operation == operation
		or change.user == request.from or change.user == request.to
		or change.room == request.from or change.room == request.to
		or change.domain ~= nil and (change.domain == domain_of(request.from) or change.domain == domain_of(request.to));
end

local function random_request(random)
	local from = random(#users);
	return { hook = "send", kind = "message", type = "chat", from = users[from], to = users[(from + random(#users - 1) - 1) % #users + 1] };
end

local function new_oracle()
	return { seen = 0, settled = false, stamps = {}, answers = {}, proofs = {} };
end

local function forbid(oracle, change, number)
	table.insert(oracle.stamps, { change = change, number = number });
end

local function oracle_numbered(oracle, sequence, change)
	local before = oracle.seen;
	oracle.seen = math.max(before, sequence);
	if not oracle.settled then
		forbid(oracle, { all = true }, sequence < before and before + 1 or oracle.seen);
	elseif sequence > before + 1 then
		forbid(oracle, { all = true }, sequence);
	elseif sequence < before then
		forbid(oracle, { all = true }, before + 1);
	elseif change then
		forbid(oracle, change, sequence);
	end
	oracle.settled = true;
end

local function is_forbidden(oracle, request, floor)
	for _, stamp in ipairs(oracle.stamps) do
		if floor < stamp.number and touches(stamp.change, request) then return true; end
	end
	return false;
end

local function is_proved(oracle, now)
	for _, proof in ipairs(oracle.proofs) do
		if proof.seq <= oracle.seen and now - proof.at <= bound then return true; end
	end
	return false;
end

-- As the hook does: holds hits, and asks them first.
local function new_reader(cache)
	local held = {};
	return function (request)
		local pair = request.from.." "..request.to;
		local again = held[pair] and cache:again(held[pair]);
		if again then return again, true; end
		local verdict = cache:get(operation, request);
		held[pair] = verdict and cache:hold(operation, request, verdict);
		return verdict, false;
	end;
end

-- The answers that may be given now, by their reason.
local function allowed(oracle, request, now)
	local reasons, any = {}, false;
	if not oracle.settled or not is_proved(oracle, now) then return reasons, any; end
	for _, answer in ipairs(oracle.answers) do
		if answer.request.from == request.from and answer.request.to == request.to and now < answer.expires_at
			and not is_forbidden(oracle, request, answer.seq) then
			reasons[answer.reason], any = true, true;
		end
	end
	return reasons, any;
end

-- What nothing can come of any more, so that searching stays affordable.
local function forget(oracle, now)
	local answers, proofs = {}, {};
	for _, answer in ipairs(oracle.answers) do
		if now < answer.expires_at and not is_forbidden(oracle, answer.request, answer.seq) then table.insert(answers, answer); end
	end
	for _, proof in ipairs(oracle.proofs) do
		if now - proof.at <= bound then table.insert(proofs, proof); end
	end
	oracle.answers, oracle.proofs = answers, proofs;
end

local function compare_with_oracle(seed, options)
	local random = harness.random(seed);
	local near_cache = module:require "near_cache";
	local now, sequence, told, hits, forbidden = 1000, 1795254505599, 0, 0, 0;
	local cache = near_cache.new {
		clock = function () return now; end; bound = bound; max_entries = options.max_entries; max_stamps = options.max_stamps;
	};
	local oracle, tickets, read, again = new_oracle(), {}, new_reader(cache), 0;
	for step = 1, 4000 do
		now = now + random(0, 60) / 1000;
		local roll = random(100);
		if roll <= 6 then
			local change = random(3) == 1 and random_change(random) or nil;
			-- Mostly the next, now and then a gap, an old one or the same.
			local luck = random(40);
			local number = luck == 1 and sequence + random(5) + 1 or luck == 2 and sequence - random(0, 5) or sequence + 1;
			sequence = math.max(sequence, number);
			cache:numbered(number, change);
			oracle_numbered(oracle, number, change);
		elseif roll == 7 and random(3) == 1 then
			local change = random_change(random);
			cache:heard(change);
			forbid(oracle, change, oracle.seen + 1);
		elseif roll == 8 and random(4) == 1 then
			cache:connected(true);
			oracle.settled = false;
			forbid(oracle, { all = true }, oracle.seen + 1);
		elseif roll <= 28 then
			local request = random_request(random);
			table.insert(tickets, { ticket = cache:ask(operation, request), request = request, at = now });
		elseif roll <= 48 and tickets[1] then
			local asked = table.remove(tickets, math.max(1, #tickets - random(0, 4)));
			told = told + 1;
			local reply = {
				seq = sequence - random(0, 2) + (random(4) == 1 and random(3) or 0); age_ms = random(0, 1500);
				verdict = "allow"; scope = "pair"; ttl_ms = random(1, 8000); reason = "v="..told;
			};
			table.insert(oracle.proofs, { seq = reply.seq, at = asked.at - reply.age_ms / 1000 });
			local is_stored = cache:answered(asked.ticket, reply);
			local is_alive = oracle.settled and now < asked.at + reply.ttl_ms / 1000;
			if is_stored then
				check(is_alive and not is_forbidden(oracle, asked.request, reply.seq), "stored what is forbidden, step "..step);
				-- It takes the place of what was there.
				for i = #oracle.answers, 1, -1 do
					local known = oracle.answers[i];
					if known.request.from == asked.request.from and known.request.to == asked.request.to then table.remove(oracle.answers, i); end
				end
				table.insert(oracle.answers, {
					request = asked.request, seq = reply.seq, reason = reply.reason, expires_at = asked.at + reply.ttl_ms / 1000,
				});
			end
		else
			local request = random_request(random);
			local verdict, is_again = read(request);
			local reasons, any = allowed(oracle, request, now);
			if is_again then
				again = again + 1;
				check(rawequal(verdict, cache:get(operation, request)), "what is held is not what is remembered, step "..step);
			end
			if verdict then
				check(reasons[verdict.reason], "served what is forbidden, step "..step);
				hits = hits + 1;
			elseif options.is_exact then
				check(not any, "did not serve what is allowed, step "..step);
			end
			if not any then forbidden = forbidden + 1; end
		end
		equal(cache:seen(), oracle.seen);
		if step % 100 == 0 then forget(oracle, now); end
	end
	local stats = cache:stats();
	check(hits > (options.is_exact and 100 or 10) and forbidden > 100, hits.." hits, "..forbidden.." forbidden: nothing was tried");
	stats.again = again;
	return stats;
end

test("serves all that nothing forbids and nothing else", function ()
	local again = 0;
	for seed = 1, 30 do
		again = again + compare_with_oracle(seed, { max_entries = 1000, max_stamps = 1000000, is_exact = true }).again;
	end
	check(again > 1000, again.." hits were held: nothing was tried");
end);

test("with tables that are far too small it serves less and never what is forbidden", function ()
	local evictions = 0;
	for seed = 31, 60 do
		evictions = evictions + compare_with_oracle(seed, { max_entries = 6, max_stamps = 2 }).evictions;
	end
	check(evictions > 1000);
end);

-- A stream, workers that follow it at their own pace, and one near cache. Versions count the changes that touch a pair.

local function new_cluster(random)
	return { random = random, now = 1000, sequence = 1795254505599, changes = {}, versions = {}, acknowledged = {} };
end

local function version_of(cluster, request)
	return cluster.versions[request.from.." "..request.to] or 0;
end

-- The truth changes, then the change is published and acknowledged: so it is with an application.
local function publish(cluster, change)
	cluster.sequence = cluster.sequence + 1;
	if change then
		for _, from in ipairs(users) do
			for _, to in ipairs(users) do
				local request = { from = from, to = to };
				if touches(change, request) then
					local pair = from.." "..to;
					cluster.versions[pair] = (cluster.versions[pair] or 0) + 1;
					cluster.acknowledged[pair] = cluster.acknowledged[pair] or {};
					table.insert(cluster.acknowledged[pair], {
						sequence = cluster.sequence, at = cluster.now, version = cluster.versions[pair],
					});
				end
			end
		end
	end
	cluster.changes[cluster.sequence] = change;
end

-- The version that an answer must have at least, for who has seen so much and asks now.
local function least_version(cluster, request, seen, now)
	local least = 0;
	for _, acknowledged in ipairs(cluster.acknowledged[request.from.." "..request.to] or {}) do
		if acknowledged.sequence <= seen or acknowledged.at < now - bound then least = math.max(least, acknowledged.version); end
	end
	return least;
end

local function run_cluster(near_cache, seed)
	local random = harness.random(seed);
	local cluster = new_cluster(random);
	local cache = near_cache.new { clock = function () return cluster.now; end; bound = bound; max_entries = 1000, max_stamps = 1000 };
	local worker, read = { seen = cluster.sequence, proved_at = cluster.now }, new_reader(cache);
	local unread, asked, answers, hits, violations = {}, {}, {}, 0, 0;
	local is_cut, stopped_until = false, 0;
	cache:connected(true);
	local function deliver(sequence)
		if not is_cut then table.insert(unread, { sequence = sequence, change = cluster.changes[sequence] }); end
	end
	for _ = 1, 6000 do
		cluster.now = cluster.now + random(0, 40) / 1000;
		if random(400) == 1 then is_cut = not is_cut; end
		if random(500) == 1 then stopped_until = cluster.now + random(0, 4000) / 1000; end
		local roll = random(100);
		if roll <= 2 then
			publish(cluster, random_change(random));
			-- Lost on its way, sometimes without anything else being lost.
			if random(20) ~= 1 then deliver(cluster.sequence); end
		elseif roll <= 12 then
			-- A tick: the worker has applied all that was before it.
			local sent_at = cluster.now;
			publish(cluster, nil);
			worker.seen, worker.proved_at = cluster.sequence, sent_at;
			deliver(cluster.sequence);
			if random(50) == 1 then deliver(cluster.sequence - random(0, 3)); end
		elseif roll <= 14 then
			worker.seen = cluster.sequence;
		elseif roll <= 44 then
			-- A worker begins to look up; it answers later.
			local question = asked[1] and table.remove(asked, random(#asked));
			if question then
				table.insert(answers, {
					question = question;
					reply = {
						seq = math.max(worker.seen, question.ticket.min_seq); age_ms = (cluster.now - worker.proved_at) * 1000;
						verdict = "allow"; scope = "pair"; ttl_ms = 60000; reason = version_of(cluster, question.request);
					};
				});
			end
		elseif roll <= 66 then
			local answer = answers[1] and table.remove(answers, random(#answers));
			if answer and cluster.now - answer.question.at < 3 and cluster.now >= stopped_until then
				cache:answered(answer.question.ticket, answer.reply);
			end
		elseif roll <= 80 then
			if unread[1] and cluster.now >= stopped_until then
				for _ = 1, random(4) do
					local message = table.remove(unread, 1);
					if message then cache:numbered(message.sequence, message.change); end
				end
			end
		elseif roll == 81 and random(20) == 1 then
			unread, is_cut = {}, false;
			cache:connected(true);
		else
			-- Also while it was stopped: what it does first when it wakes.
			local request = random_request(random);
			local seen = cache:seen();
			local verdict = read(request);
			if verdict then
				hits = hits + 1;
				if verdict.reason < least_version(cluster, request, seen, cluster.now) then violations = violations + 1; end
			else
				table.insert(asked, { ticket = cache:ask(operation, request), request = request, at = cluster.now });
			end
		end
	end
	return hits, violations;
end

-- A library of the hook with one text in one file exchanged.
local function planted(file, text, replacement)
	local frame = {};
	function frame.require(_, name)
		local path = harness.root.."/deploy/prosody/mod_warder/"..name..".lib.lua";
		local source = assert(io.open(path)):read("a");
		if name == file then
			local from, to = source:find(text, 1, true);
			assert(from, "the text to exchange is not in "..name);
			source = source:sub(1, from - 1)..replacement..source:sub(to + 1);
		end
		return assert(load(source, "="..name, "t", setmetatable({ module = frame }, { __index = _G })))();
	end
	return frame:require("near_cache");
end

test("who has seen a change never gets an older decision, nor does anybody after the staleness bound", function ()
	local near_cache, all_hits = module:require "near_cache", 0;
	for seed = 1, 40 do
		local hits, violations = run_cluster(near_cache, seed);
		equal(violations, 0, "seed "..seed);
		all_hits = all_hits + hits;
	end
	check(all_hits > 5000, all_hits.." hits only: nothing was tried");
end);

local faults = {
	{ "a gap that is ignored", "change_order", "elseif sequence > before + 1 then", "elseif sequence > before + 1e9 then" };
	{ "a proof dated by the answer", "near_cache", "self.order:replied(ticket.sent_at", "self.order:replied(self.clock()" };
	{ "a proof that does not wait for its number", "change_order", "if seq <= self.seen then", "if true then" };
	{ "a proof without the age that the worker tells", "change_order", "sent_at - age_ms / 1000", "sent_at" };
	{ "a floor of what was seen at the answer", "near_cache", "return seq > 0 and seq or nil", "return order.seen" };
	{ "hits that look at no stamps", "near_cache", "or stamps:allow(entry.seq, operation, jid, other)", "or true" };
	{ "hits that look at no proof", "near_cache", "if is_proved(self, now) then", "if true then" };
	{ "held hits that look at no stamps", "near_cache", "or stamps:allow(entry.seq, hit.operation, hit.jid, hit.other)", "or true" };
	{ "held hits that look at no proof", "near_cache", "now - order.proved_at <= self.bound) then", "true) then" };
	{ "stamps of the other side that are not looked at", "stamps", "or other and floor < (jids[other] or 0)", "" };
};

for _, fault in ipairs(faults) do
	test("the cluster shows "..fault[1], function ()
		local near_cache, violations = planted(fault[2], fault[3], fault[4]), 0;
		for seed = 1, 40 do violations = violations + select(2, run_cluster(near_cache, seed)); end
		check(violations > 0, "no violation");
	end);
end

harness.finish();
