-- A NATS client on Prosody's event loop: one connection, requests, publications, subscriptions.
-- Knows NATS and nothing of Warder's questions. Never blocks; never raises into its caller.
--
-- local nats = module:require "nats";
-- local client = nats.connect {           -- starts connecting, returns at once
--   servers = { "nats://user:pass@host:4222", "tls://token@other" }; -- or one string, comma separated
--   name = "warder-prosody";              -- what the broker lists the connection as
--   inbox = "prosody";                    -- replies arrive under _INBOX.<inbox>.<random>
--   user = , password = , token = ;       -- where the URL has none
--   tls = { ca_file = , cert_file = , key_file = , hostname = } -- given: TLS is required of every server
--   ping_interval = 5; ping_max = 2;      -- seconds; unanswered pings after which the connection counts as dead
--   connect_timeout = 5;                  -- seconds from the first packet to the broker's first PONG
--   reconnect_min = 0.1; reconnect_max = 5; -- seconds, doubled after each round through the servers, with jitter
--   max_unsent = 8388608;                 -- bytes waiting for a broker that does not read
--   max_reply = 4194304;                  -- a larger message is skipped, not buffered
-- };
-- -> client, or nil, text when the options make no sense
--
-- client:request(subject, payload, timeout_seconds, callback)    callback(err) or callback(nil, msg), exactly once,
--     possibly before request() returns. err: "no-responders", "timeout", "disconnected", "too-large".
-- client:publish(subject, payload, reply, headers) -> true, or nil, err     ("disconnected", "too-large", "bad-subject")
--     headers: { { "Name", "value" }, ... }
-- client:subscribe(subject, callback, queue) -> unsubscribe()    callback(msg); kept over reconnects
--   msg = { subject, reply, payload, headers, status, oversize }
--     headers: nil or name -> list of values in order; status: number from the header's first line; oversize: true
--     when the payload was larger than max_reply (it is then "")
-- client:on_status(callback) -> remove()    callback("connected", server, is_reconnect), ("disconnected", reason), ("error", text)
-- client:connected() -> boolean
-- client:max_payload() -> bytes (nil before the first INFO)
-- client:stats() -> { connects, reconnects, disconnects, pending, subscriptions, bytes_in, bytes_out, messages_in, messages_out, rtt }
-- client.server_info   the broker's latest INFO as a table, nil before the first
-- client:close()       for good: flushes, unsubscribes, fails what is pending

local random_bytes = require "util.random".bytes;
local to_hex = require "util.hex".encode;
local timer = require "util.timer";
local monotonic = require "util.time".monotonic;
local xpcall = require "util.xpcall".xpcall;
local log = require "util.logger".init("warder.nats");

local links = module:require "nats_link";
local protocol = module:require "nats_protocol";
local requests = module:require "nats_requests";
local servers = module:require "nats_servers";

local traceback = debug.traceback;

-- A connection that held for so long was a good one: losing it starts the back-off anew.
local stable_after = 5;
-- The same complaint is written to the log once in this time.
local complaint_interval = 60;
local inbox_sid = 1;

local client_methods = {};
local client_mt = { __index = client_methods };

-- 1..n
local function random_below(n)
	local a, b = random_bytes(2):byte(1, 2);
	return (a * 256 + b) % n + 1;
end

local function call(callback, ...)
	local ok, err = xpcall(callback, traceback, ...);
	if not ok then log("error", "Error in a callback: %s", err); end
end

local function notify(self, ...)
	local listeners = {};
	for listener in pairs(self.status_listeners) do listeners[#listeners + 1] = listener; end
	for _, listener in ipairs(listeners) do call(listener, ...); end
end

-- Logs a failure that comes back with every attempt only when it is new or has not been said for a while.
local function complain(self, level, text)
	local now = monotonic();
	if self.complained[text] and now - self.complained[text] < complaint_interval then
		log("debug", "%s", text);
	else
		if self.complaints >= 100 then self.complained, self.complaints = {}, 0; end
		self.complained[text], self.complaints = now, self.complaints + 1;
		log(level, "%s", text);
	end
	notify(self, "error", text);
end

local function backoff(self)
	local longest = math.min(self.options.reconnect_max, self.options.reconnect_min * 2 ^ math.min(self.rounds, 30));
	return longest * (0.5 + random_below(1000) / 2000);
end

local function reconnect(self)
	self.retry_timer = nil;
	local server = self.pool:next();
	if server then
		self.link = links.new(server, self.options, self);
		return self.link:open();
	end
	local delay = backoff(self);
	self.rounds = self.rounds + 1;
	self.pool:shuffle();
	self.retry_timer = timer.add_task(delay, function () reconnect(self); end);
end

-- What the link tells.

function client_methods:login_lines()
	local lines = {};
	for sid, subscription in pairs(self.subscriptions) do
		lines[#lines + 1] = protocol.subscribe(subscription.subject, sid, subscription.queue);
	end
	return table.concat(lines);
end

function client_methods:on_info(link, info)
	self.server_info = info;
	self.pool:learn(info.connect_urls, link.server);
	if info.ldm then log("info", "NATS at %s is about to shut down", link.server.label); end
end

function client_methods:on_up(link)
	self.counters.connects = self.counters.connects + 1;
	self.complained, self.complaints = {}, 0;
	log("info", "Connected to NATS at %s%s", link.server.label, link.encrypted and " with TLS" or "");
	notify(self, "connected", link.server.label, self.counters.connects > 1);
end

function client_methods:on_complaint(_, text)
	complain(self, "error", text);
end

function client_methods:on_message(_, message)
	self.counters.messages_in = self.counters.messages_in + 1;
	local subscription = self.subscriptions[tonumber(message.sid)];
	if subscription then call(subscription.callback, message); end
end

function client_methods:on_lost(link, reason, seconds_up)
	self.link = nil;
	self.requests:fail_all();
	if seconds_up then
		self.counters.disconnects = self.counters.disconnects + 1;
		log("warn", "Lost the connection to NATS at %s: %s", link.server.label, reason);
		if seconds_up >= stable_after then
			self.rounds = 0;
			self.pool:shuffle(link.server);
		end
		notify(self, "disconnected", reason);
	else
		complain(self, "warn", ("Cannot connect to NATS at %s: %s"):format(link.server.label, reason));
	end
	if self.closed then return; end -- by one of those who were told
	-- Not at once, see nats_link.lib.lua.
	self.retry_timer = timer.add_task(0, function () reconnect(self); end);
end

-- What the user calls.

function client_methods:connected()
	return self.link ~= nil and self.link:is_up();
end

function client_methods:max_payload()
	return self.server_info and tonumber(self.server_info.max_payload);
end

-- Why nothing can be sent now, or nil. A broker that has stopped reading is as good as gone.
local function send_error(self, size)
	if not self:connected() or self.link.unsent > self.options.max_unsent then return "disconnected"; end
	local most = self:max_payload();
	if most and size > most then return "too-large"; end
end

function client_methods:publish(subject, payload, reply, headers)
	local bytes, size = protocol.publish(subject, payload, reply, headers);
	if not bytes then return nil, size; end
	local err = send_error(self, size);
	if err then return nil, err; end
	self.counters.messages_out = self.counters.messages_out + 1;
	self.link:write(bytes);
	return true;
end

function client_methods:request(subject, payload, timeout_seconds, callback)
	self.requests:ask(subject, payload, timeout_seconds, callback);
end

function client_methods:subscribe(subject, callback, queue)
	if not protocol.is_pattern(subject) then
		log("error", "Cannot subscribe to %q: not a NATS subject", tostring(subject));
		return function () end;
	end
	local sid = self.last_sid + 1;
	self.last_sid = sid;
	self.subscriptions[sid] = { subject = subject; queue = queue; callback = callback };
	-- Before the login it is sent with that.
	if self.link and self.link:takes_writes() then self.link:write(protocol.subscribe(subject, sid, queue)); end
	return function ()
		if not self.subscriptions[sid] then return; end
		self.subscriptions[sid] = nil;
		if self.link and self.link:takes_writes() then self.link:write(protocol.unsubscribe(sid)); end
	end;
end

function client_methods:on_status(callback)
	local function listener(...) callback(...); end
	self.status_listeners[listener] = true;
	return function () self.status_listeners[listener] = nil; end;
end

function client_methods:stats()
	local counters, subscriptions = self.counters, 0;
	for sid in pairs(self.subscriptions) do
		if sid ~= inbox_sid then subscriptions = subscriptions + 1; end
	end
	return {
		connects = counters.connects; reconnects = math.max(counters.connects - 1, 0); disconnects = counters.disconnects;
		bytes_in = counters.bytes_in; bytes_out = counters.bytes_out;
		messages_in = counters.messages_in; messages_out = counters.messages_out;
		pending = self.requests.count; subscriptions = subscriptions; rtt = self.link and self.link.rtt;
	};
end

function client_methods:close()
	if self.closed then return; end
	self.closed = true;
	if self.retry_timer then timer.stop(self.retry_timer); end
	local link, was_connected = self.link, self:connected();
	self.link, self.retry_timer = nil, nil;
	if link then link:close(); end
	self.requests:fail_all();
	if was_connected then
		self.counters.disconnects = self.counters.disconnects + 1;
		log("info", "Closed the connection to NATS");
		notify(self, "disconnected", "closed");
	end
	self.status_listeners = {};
end

local defaults = {
	name = "warder-prosody"; inbox = "prosody"; ping_interval = 5; ping_max = 2; connect_timeout = 5;
	reconnect_min = 0.1; reconnect_max = 5; max_unsent = 8 * 1024 * 1024; max_reply = 4 * 1024 * 1024;
};

local function connect(given)
	local options = setmetatable({}, { __index = function (_, name)
		if given[name] ~= nil then return given[name]; end
		return defaults[name];
	end });
	if not tostring(options.inbox):match("^[%w_-]+$") then
		return nil, "the inbox name may contain letters, digits, _ and - only";
	end
	for name, default in pairs(defaults) do
		local value = options[name];
		if type(default) == "number" and not (type(value) == "number" and value > 0 and value < 1e9) then
			return nil, name.." must be a number over 0";
		end
	end
	local pool, err = servers.new_pool(given.servers, random_below);
	if not pool then return nil, err; end
	local self = setmetatable({
		options = options; pool = pool; rounds = 0;
		subscriptions = {}; last_sid = inbox_sid;
		status_listeners = {}; complained = {}; complaints = 0;
		counters = { connects = 0, disconnects = 0, bytes_in = 0, bytes_out = 0, messages_in = 0, messages_out = 0 };
	}, client_mt);
	local inbox = "_INBOX."..options.inbox.."."..to_hex(random_bytes(12))..".";
	self.requests = requests.new(inbox, function (...) return self:publish(...); end);
	self.subscriptions[inbox_sid] = {
		subject = inbox.."*";
		callback = function (message) self.requests:on_reply(message); end;
	};
	reconnect(self);
	return self;
end

return { connect = connect };
