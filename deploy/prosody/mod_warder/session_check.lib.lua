-- session-check: whether a client that has authenticated may open a session.
--
-- module:require "session_check".start(decider, verdicts);

local new_resource = require "util.id".medium;
local resourceprep = require "util.encodings".stringprep.resourceprep;

local reading = module:require "reading";

local operation = "session-check";

-- How each session that has authenticated did so: gone from the session by the time it binds.
local mechanisms = setmetatable({}, { __mode = "k" });

-- The question names the full JID, so the resource is settled before it is asked: what the client wishes, or one made up
-- here as Prosody would. Only a conflict can still change it (option conflict_resolve).
local function settle_resource(wish)
	local resource = wish and resourceprep(wish, true);
	return resource and resource ~= "" and resource or new_resource();
end

local function start(decider, verdicts)
	module:hook("authentication-success", function (event)
		local handler = event.session.sasl_handler;
		mechanisms[event.session] = handler and handler.selected;
	end);

	module:hook("pre-resource-bind", function (event)
		local session = event.session;
		event.resource = settle_resource(event.resource);
		local username, host = session.username, session.host;
		local verdict = decider:decide(operation, "local", {
			user = username.."@"..host.."/"..event.resource;
			ip = session.ip;
			tls = session.secure == true;
			mechanism = mechanisms[session];
		});
		reading.go_on(session);
		-- Nothing is left to bind.
		if session.destroyed then return false; end
		if verdict.verdict == "allow" then return nil; end
		module:log("info", "%s: %s for %s@%s%s", operation, verdict.verdict, username, host,
			verdict.reason and (" ("..verdict.reason:sub(1, 200)..")") or "");
		local err = verdicts:error_of(operation, verdict);
		event.error = { type = err.type, condition = err.condition, text = err.text };
		return false;
	end);
end

return { start = start };
