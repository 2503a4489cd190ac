-- The requests of a NATS client that have no reply yet: each is answered exactly once, by its reply, by the time that has
-- passed, or by the loss of the connection. Knows neither the connection nor what is asked.
--
-- local requests = module:require "nats_requests".new(inbox_prefix, publish);   publish(subject, payload, reply) -> true, or nil, err
-- requests:ask(subject, payload, timeout_seconds, callback)   callback(err) or callback(nil, message)
-- requests:on_reply(message)
-- requests:fail_all()      callback("disconnected") for each
-- requests.count

local random_bytes = require "util.random".bytes;
local to_hex = require "util.hex".encode;
local timer = require "util.timer";
local xpcall = require "util.xpcall".xpcall;
local log = require "util.logger".init("warder.nats");

local traceback = debug.traceback;

local methods = {};
local mt = { __index = methods };

local function call(callback, ...)
	local ok, err = xpcall(callback, traceback, ...);
	if not ok then log("error", "Error in a callback: %s", err); end
end

local function take(self, token)
	local request = self.pending[token];
	if request then self.pending[token], self.count = nil, self.count - 1; end
	return request;
end

function methods:ask(subject, payload, timeout_seconds, callback)
	local token = to_hex(random_bytes(8));
	local ok, err = self.publish(subject, payload, self.inbox..token);
	if not ok then
		if err == "bad-subject" then
			log("error", "Cannot ask on %q: not a NATS subject", tostring(subject));
			err = "disconnected";
		end
		return call(callback, err);
	end
	self.count = self.count + 1;
	self.pending[token] = {
		callback = callback;
		timer = timer.add_task(timeout_seconds, function ()
			take(self, token);
			call(callback, "timeout");
		end);
	};
end

function methods:on_reply(message)
	local request = take(self, message.subject:sub(#self.inbox + 1));
	if not request then return; end -- too late
	timer.stop(request.timer);
	if message.status == 503 and message.payload == "" then
		return request.callback("no-responders");
	end
	request.callback(nil, message);
end

function methods:fail_all()
	local pending = self.pending;
	self.pending, self.count = {}, 0;
	for _, request in pairs(pending) do
		timer.stop(request.timer);
		call(request.callback, "disconnected");
	end
end

local function new(inbox, publish)
	return setmetatable({ inbox = inbox; publish = publish; pending = {}; count = 0 }, mt);
end

return { new = new };
