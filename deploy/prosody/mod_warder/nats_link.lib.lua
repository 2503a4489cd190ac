-- One connection to one broker: from its name, over address, greeting, TLS and login, to its end. Knows no requests.
--
-- local link = links.new(server, options, owner)      server as in nats_servers.lib.lua, options as in nats.lib.lua
-- link:open()
-- link:write(bytes); link:is_up(); link:takes_writes()
-- link:close()      after what is unsent; the owner hears nothing more
-- link.server, link.encrypted, link.unsent
-- The owner is told, by owner:on_...(link, ...): on_info(info), on_up(), on_message(message), on_complaint(text),
-- on_lost(reason, seconds_up or nil), the last word. owner:login_lines() gives what is sent behind CONNECT.
-- owner.counters.bytes_in and bytes_out count.

local server_loop = require "net.server";
local basic_resolver = require "net.resolvers.basic";
local timer = require "util.timer";
local monotonic = require "util.time".monotonic;
local is_address = require "util.net".pton;

local json = module:require "json";
local protocol = module:require "nats_protocol";
local tls = module:require "nats_tls";

-- A broker speaks first. When its greeting is there before the connection was seen to be established, Prosody's epoll
-- backend reads it and then closes the connection with "connection timeout". So nothing is read before.
local pause_until_connected = server_loop.get_backend == nil or server_loop.get_backend() == "epoll";

local link_methods = {};
local link_mt = { __index = link_methods };

function link_methods:is_up()
	return self.phase == "up";
end

-- Whether the login has been written, so that more can be.
function link_methods:takes_writes()
	return self.phase == "login" or self.phase == "up";
end

function link_methods:write(data)
	self.unsent = self.unsent + #data;
	self.owner.counters.bytes_out = self.owner.counters.bytes_out + #data;
	self.conn:write(data);
end

local function stop_timer(self)
	if self.timer then timer.stop(self.timer); end
	self.timer = nil;
end

function link_methods:close()
	self.phase = "ended";
	stop_timer(self);
	if self.conn then self.conn:close(); end
end

-- Leaves the socket without waiting for a peer that may never read again.
local function discard(self)
	local conn = self.conn;
	self.conn = nil;
	if not conn then return; end
	local kill = conn.destroy or conn.force_close or conn.close;
	kill(conn);
end

local function lose(self, reason)
	if self.phase == "ended" then return; end
	self.phase = "ended";
	stop_timer(self);
	discard(self);
	self.owner:on_lost(self, self.last_error or reason, self.up_since and monotonic() - self.up_since);
end

local function login(self)
	local server, options, has_headers = self.server, self.options, self.info.headers == true;
	local account = (server.user or server.token) and server or options;
	self.phase = "login";
	self:write(protocol.connect(json.encode {
		verbose = false; pedantic = false; echo = true; headers = has_headers; no_responders = has_headers;
		tls_required = self.encrypted; name = options.name; lang = "lua"; version = "1"; protocol = 1;
		user = account.user; pass = account.password; auth_token = account.token;
	})..self.owner:login_lines()..protocol.ping);
end

local function start_tls(self)
	-- What came in clear behind INFO would be taken for encrypted.
	if self.parser:unread() > 0 then return lose(self, "data before TLS"); end
	local context, err = tls.new_context(self.options.tls or {});
	if not context then return lose(self, "TLS: "..tostring(err)); end
	self.phase = "tls";
	self.conn:starttls(context);
end

local function ping(self)
	if self.pings >= self.options.ping_max then
		return lose(self, ("no answer to %d pings"):format(self.pings));
	end
	self.pings = self.pings + 1;
	self.pinged_at = monotonic();
	self:write(protocol.ping);
	return self.options.ping_interval;
end

local operations = {};

operations["INFO"] = function (self, operation)
	local info = json.decode(operation.json);
	if type(info) ~= "table" then return lose(self, "malformed INFO"); end
	self.info = info;
	self.owner:on_info(self, info);
	if self.phase ~= "greeting" then return; end
	local wanted = self.server.tls or self.options.tls ~= nil;
	if wanted and not (info.tls_required or info.tls_available) then
		lose(self, "TLS is required here and the server offers none");
	elseif wanted or info.tls_required then
		start_tls(self);
	else
		login(self);
	end
end;

operations["PING"] = function (self)
	if self:takes_writes() then self:write(protocol.pong); end
end;

operations["PONG"] = function (self)
	self.pings = 0;
	if self.pinged_at then self.rtt = monotonic() - self.pinged_at; end
	if self.phase ~= "login" then return; end
	self.phase = "up";
	self.up_since = monotonic();
	stop_timer(self);
	self.timer = timer.add_task(self.options.ping_interval, function () return ping(self); end);
	self.owner:on_up(self);
end;

operations["+OK"] = function () end;

operations["-ERR"] = function (self, operation)
	local what, subject = operation.text:match("^[Pp]ermissions [Vv]iolation for (%a+) to \"?([^\" ]+)");
	if subject then
		-- The connection stays; a request to this subject will find no answer.
		self.owner:on_complaint(self, ("NATS at %s does not permit this connection's %s to the subject %s")
			:format(self.server.label, what:lower(), subject));
		return;
	end
	-- The server closes the connection itself; this is why.
	self.last_error = operation.text;
end;

operations["MSG"] = function (self, message)
	self.owner:on_message(self, message);
end;

local function on_data(self, data)
	self.owner.counters.bytes_in = self.owner.counters.bytes_in + #data;
	self.parser:push(data);
	-- Any operation may end this link.
	while self.phase ~= "ended" do
		local operation, err = self.parser:next();
		if operation then
			operations[operation.kind](self, operation);
		elseif err then
			return lose(self, "this is not NATS: "..err);
		else
			return;
		end
	end
end

local try_next_address;

local function new_listeners(self)
	local listeners = {};
	function listeners.onconnect(conn)
		if conn.setoption then conn:setoption("tcp-nodelay", true); end
		if pause_until_connected then conn:resume(); end
	end
	function listeners.onincoming(conn, data)
		if self.conn == conn and data then on_data(self, data); end
	end
	function listeners.ondisconnect(conn, err)
		if self.conn ~= conn then return; end
		if self.phase ~= "greeting" then return lose(self, err or "closed by the server"); end
		self.conn, self.last_failure = nil, err;
		-- Not at once: Prosody ends by closing its connections one by one, and one that is opened meanwhile breaks that
		-- loop for good.
		timer.add_task(0, function ()
			if self.phase == "greeting" then try_next_address(self); end
		end);
	end
	function listeners.onstatus(conn, status)
		if status ~= "ssl-handshake-complete" or self.conn ~= conn then return; end
		local ok, err = tls.verify(conn:socket(), self.tls_name);
		if not ok then return lose(self, "TLS: "..err); end
		self.encrypted = true;
		login(self);
	end
	function listeners.ondrain()
		self.unsent = 0;
	end
	-- Silence is judged by our own pings.
	function listeners.onreadtimeout()
		return true;
	end
	return listeners;
end

-- Each address has the time anew: one that swallows packets must not keep us from the next.
local function start_timer(self)
	stop_timer(self);
	self.timer = timer.add_task(self.options.connect_timeout, function ()
		self.timer = nil;
		local reason = ("no connection within %g s"):format(self.options.connect_timeout);
		if self.phase ~= "greeting" or not self.conn then return lose(self, reason); end
		self.last_failure = reason;
		discard(self);
		try_next_address(self);
	end);
end

function try_next_address(self)
	start_timer(self);
	self.resolver:next(function (conn_type, ip, port, extra)
		if self.phase ~= "greeting" then return; end
		if not conn_type then
			return lose(self, self.last_failure or self.resolver.last_error or "the host name has no address");
		end
		self.parser = protocol.new_parser { max_payload = self.options.max_reply };
		local conn, err = server_loop.addclient(ip, port, new_listeners(self), "*a", nil, conn_type, extra);
		if not conn then
			self.last_failure = err;
			return try_next_address(self);
		end
		self.conn = conn;
		if pause_until_connected then conn:pause(); end
	end);
end

function link_methods:open()
	try_next_address(self);
end

local function new(server, options, owner)
	local tls_name = options.tls and options.tls.hostname or server.tls_name;
	return setmetatable({
		server = server; options = options; owner = owner; tls_name = tls_name;
		phase = "greeting"; unsent = 0; pings = 0; encrypted = false;
		resolver = basic_resolver.new(server.host, server.port, "tcp", {
			servername = not is_address(tls_name) and tls_name or nil;
		});
	}, link_mt);
end

return { new = new };
