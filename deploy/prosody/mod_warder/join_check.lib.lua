-- join-check: who enters a room, before there is a room.
-- Asked above the room's own methods, so that a denied join leaves neither a room nor an occupant behind, and so that
-- the whole of the join runs in one piece after the answer.
--
-- module:require "join_check".start(decider, verdicts, line);

local async = require "util.async";
local jid_bare = require "util.jid".bare;
local jid_host = require "util.jid".host;
local jid_resource = require "util.jid".resource;
local st = require "util.stanza";

local reading = module:require "reading";

local hosts = prosody.hosts;

local operation = "join-check";

-- Above the room methods (-2).
local priority = 20;
-- The room may come and go while the question is under way; then it is another question.
local max_questions = 3;

-- Asked for each time: the module may have been reloaded, and with it its rooms.
local function room_methods()
	return hosts[module.host].modules.muc;
end

local function start(decider, verdicts, line)
	-- What this presence would do, as things stand now; nil when it enters nothing.
	local function question_of(stanza)
		local from, to = stanza.attr.from, stanza.attr.to;
		local room = room_methods().get_room_from_jid(jid_bare(to));
		local occupant = room and room:get_occupant_by_real_jid(from);
		if occupant and (occupant.nick == to or jid_resource(to) == nil) then return nil; end
		return {
			user = from;
			room = jid_bare(to);
			nick = jid_resource(to);
			event = occupant and "nick-change" or "join";
			creating = not room;
		};
	end

	local function is_same(a, b)
		return b ~= nil and a.event == b.event and a.creating == b.creating;
	end

	local function check(event, question, remembered)
		local origin, stanza = event.origin, event.stanza;
		local is_client = origin.full_jid ~= nil;
		local side = hosts[jid_host(question.user)] and "local" or "remote";
		local verdict = remembered;
		for _ = 1, max_questions do
			verdict = verdict or decider:decide(operation, side, question);
			reading.go_on(origin);
			-- Its session was replaced while it waited: nobody is left who could enter.
			if is_client and origin.destroyed then return true; end
			local ok, stopped = xpcall(verdicts.apply, debug.traceback, verdicts, operation, "send", event, verdict);
			if not ok then
				module:log("error", "Could not act on %s: %s", verdict.verdict, stopped);
				stopped = verdict.verdict ~= "allow" or nil;
			end
			if stopped then return true; end
			local now = question_of(stanza);
			if now == nil or is_same(question, now) then return nil; end
			question, verdict = now, nil;
		end
		origin.send(st.error_reply(stanza, "wait", "resource-constraint", "The room is changing too fast"));
		return true;
	end

	local function on_presence(event)
		local origin, stanza = event.origin, event.stanza;
		if stanza.attr.type ~= nil or room_methods() == nil then return nil; end
		local question = question_of(stanza);
		if not question then return nil; end
		if question.nick == nil then
			if not question.creating then return nil; end
			-- The room methods would make a room of it and fail half-way (XEP-0045, section 7.2.1).
			origin.send(st.error_reply(stanza, "modify", "jid-malformed", "A nickname is needed"));
			return true;
		end
		local remembered;
		if not async.ready() then
			-- What is remembered needs no waiting.
			remembered = not line:holds(event) and decider:recall(operation, question) or nil;
			if not remembered then return line:take(event, false); end
		end
		return check(event, question, remembered);
	end

	module:hook("presence/full", on_presence, priority);
	-- The host itself may be a room.
	module:hook("presence/host", on_presence, priority);
	module:hook("presence/bare", on_presence, priority);
end

return { start = start };
