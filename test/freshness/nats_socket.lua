-- One connection to one of several brokers over a plain socket that never blocks, for a loop of its own. Uses the hook's
-- protocol files, so that what the checker sees was read by what ships. Knows nothing of Warder.
--
-- local nats = nats_socket.new {
--   protocol = , servers = ;        -- the hook's nats_protocol.lib and nats_servers.lib
--   socket = ;                      -- luasocket
--   clock = monotonic seconds; urls = "nats://...,nats://..."; name = "asker"; random = function (n) return 1..n; end;
--   subjects = { "a.b", "_INBOX.x.>" };
--   on_up = function (label, has_jetstream); on_lost = function (reason); on_message = function (message);
-- };
-- nats:publish(subject, payload, reply) -> whether it was taken
-- nats:run()                       what is due: connects, pings, gives up; call it often
-- nats:sockets() -> to read, to write      lists for select
-- nats:read(); nats:flush()
-- nats.is_up

local setmetatable, tostring, concat = setmetatable, tostring, table.concat;

-- Seconds. A broker that was stopped, or that somebody holds, is left for another one after two or three.
local connect_timeout, ping_interval, ping_max = 1, 1, 2;
local pause_min, pause_max = 0.02, 0.5;
local max_unsent = 1024 * 1024;

local nats_methods = {};
local nats_mt = { __index = nats_methods };

local function new(options)
	return setmetatable({
		options = options; protocol = options.protocol; clock = options.clock;
		pool = assert(options.servers.new_pool(options.urls, options.random));
		is_up = false; phase = "down"; retry_at = 0; pause = pause_min; out = {}; unsent = 0; rest = "";
	}, nats_mt);
end

local function lose(self, reason)
	local was_up = self.is_up;
	if self.conn then self.conn:close(); end
	self.conn, self.is_up, self.phase = nil, false, "down";
	self.out, self.unsent, self.rest = {}, 0, "";
	self.retry_at = self.clock();
	if was_up then self.options.on_lost(reason); end
end

local function write(self, bytes)
	self.out[#self.out + 1] = bytes;
	self.unsent = self.unsent + #bytes;
end

local function connect(self)
	local server = self.pool:next();
	if not server then
		self.pool:shuffle(self.server);
		self.retry_at = self.clock() + self.pause * (0.5 + self.options.random(1000) / 1000);
		self.pause = math.min(pause_max, self.pause * 2);
		return;
	end
	self.server = server;
	self.conn = self.options.socket.tcp();
	self.conn:settimeout(0);
	self.conn:setoption("tcp-nodelay", true);
	self.parser = self.protocol.new_parser();
	self.phase, self.since = "connecting", self.clock();
	local ok, err = self.conn:connect(server.host, server.port);
	if ok then
		self.phase = "greeting";
	elseif err ~= "timeout" and err ~= "Operation already in progress" then
		lose(self, err);
	end
end

local function log_in(self, info)
	-- INFO is read for three words only, so that no JSON parser is needed.
	self.has_jetstream = info:find('"jetstream":true', 1, true) ~= nil;
	self.phase = "login";
	write(self, self.protocol.connect('{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"name":"'
		..self.options.name..'"}'));
	for sid, subject in ipairs(self.options.subjects) do write(self, self.protocol.subscribe(subject, sid)); end
	write(self, self.protocol.ping);
	self.pings, self.pinged_at = 0, self.clock();
end

local function handle(self, operation)
	local kind = operation.kind;
	if kind == "MSG" then
		self.options.on_message(operation);
	elseif kind == "PING" then
		write(self, self.protocol.pong);
	elseif kind == "PONG" then
		self.pings = 0;
		if self.phase == "login" then
			self.phase, self.is_up, self.pause = "up", true, pause_min;
			self.options.on_up(self.server.label, self.has_jetstream);
		end
	elseif kind == "INFO" and self.phase == "greeting" then
		log_in(self, operation.json);
	elseif kind == "-ERR" then
		self.last_error = operation.text;
	end
end

function nats_methods:publish(subject, payload, reply)
	if not self.is_up or self.unsent > max_unsent then return false; end
	write(self, assert(self.protocol.publish(subject, payload, reply)));
	return true;
end

function nats_methods:run()
	local now = self.clock();
	if self.phase == "down" then
		if now >= self.retry_at then connect(self); end
	elseif self.phase ~= "up" then
		if now - self.since > connect_timeout then lose(self, "no connection within a second"); end
	elseif now - self.pinged_at >= ping_interval then
		-- One ping for each look at the clock, so that a stopped process does not take its own silence for the broker's.
		if self.pings >= ping_max then return lose(self, "no answer to "..ping_max.." pings"); end
		self.pings, self.pinged_at = self.pings + 1, now;
		write(self, self.protocol.ping);
	end
end

function nats_methods:sockets()
	if not self.conn then return {}, {}; end
	local list = { self.conn };
	return list, (self.phase == "connecting" or self.unsent > 0) and list or {};
end

local function finish_connecting(self)
	local ok, err = self.conn:connect(self.server.host, self.server.port);
	if ok or err == "already connected" then
		self.phase = "greeting";
	elseif err ~= "timeout" and err ~= "Operation already in progress" then
		lose(self, tostring(err));
	end
end

function nats_methods:flush()
	if not self.conn then return; end
	if self.phase == "connecting" then return finish_connecting(self); end
	if self.unsent == 0 then return; end
	local bytes = self.rest..concat(self.out);
	local sent, err, partly = self.conn:send(bytes);
	if not sent and err ~= "timeout" then return lose(self, tostring(err)); end
	self.rest, self.out = bytes:sub((sent or partly) + 1), {};
	self.unsent = #self.rest;
end

function nats_methods:read()
	local conn = self.conn;
	if not conn or self.phase == "connecting" then return; end
	local bytes, err, partly = conn:receive(65536);
	self.parser:push(bytes or partly or "");
	while self.conn == conn do
		local operation, broken = self.parser:next();
		if operation then
			handle(self, operation);
		elseif broken then
			return lose(self, "this is not NATS: "..broken);
		else
			break;
		end
	end
	if self.conn == conn and err and err ~= "timeout" then lose(self, self.last_error or tostring(err)); end
end

return { new = new };
