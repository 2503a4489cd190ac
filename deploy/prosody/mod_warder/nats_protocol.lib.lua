-- The NATS text protocol: bytes to operations and back. Incremental and bounded; no socket, no JSON, no Prosody.
--
-- local parser = protocol.new_parser { max_line = 65536, max_payload = 4194304 };
-- parser:push(bytes);
-- repeat local op, err = parser:next() ... until not op      -- nil: more bytes are needed; nil, text: the stream is broken
--   op = { kind = "INFO", json } | { kind = "PING" | "PONG" | "+OK" } | { kind = "-ERR", text }
--      | { kind = "MSG", subject, sid, reply, payload, headers, status, oversize }   (HMSG too)
-- A payload over max_payload is skipped without being kept: oversize = true, payload = "".

local tonumber, type, ipairs, setmetatable = tonumber, type, ipairs, setmetatable;
local concat, insert = table.concat, table.insert;

-- INFO carries every server of a cluster, so a line may be longer than what a client may send.
local default_max_line = 65536;
local default_max_payload = 4 * 1024 * 1024;
-- No broker sends more in one message (its own bound is 64 MiB); a longer number is no length but garbage.
local max_declared = 2 ^ 31;

-- Headers as name -> list of values in the order they came; status and its text stand in the first line.
-- What is no header line is passed over: a careless publisher must not cost everybody the connection.
local function parse_headers(block)
	local status, status_text = block:match("^NATS/1%.0[ \t]*(%d*)[ \t]*([^\r\n]*)");
	if not status then return nil; end
	local headers = {};
	for name, value in block:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
		value = value:gsub("[ \t]+$", "");
		local values = headers[name];
		if values then
			insert(values, value);
		else
			headers[name] = { value };
		end
	end
	return headers, tonumber(status), status_text ~= "" and status_text or nil;
end

-- The last value: where the broker adds a header that a publisher forged too, the last one is the broker's.
local function last_header(headers, name)
	local values = headers and headers[name];
	return values and values[#values] or nil;
end

local parser_methods = {};
local parser_mt = { __index = parser_methods };

local function new_parser(options)
	options = options or {};
	return setmetatable({
		max_line = options.max_line or default_max_line;
		max_payload = options.max_payload or default_max_payload;
		buffer = "";  -- what is being read; everything before `at` has been
		at = 1;
		parts = {};   -- pushed after the buffer, joined to it only when that can complete an operation
		parts_size = 0;
		skipping = 0; -- bytes left of a payload that is too large to keep
	}, parser_mt);
end

function parser_methods:push(bytes)
	if bytes == "" then return; end
	insert(self.parts, bytes);
	self.parts_size = self.parts_size + #bytes;
	self.line_end_pushed = self.line_end_pushed or bytes:find("\n", 1, true) ~= nil;
end

-- How many pushed bytes have not been read yet.
function parser_methods:unread()
	return #self.buffer - self.at + 1 + self.parts_size;
end

local function join(self)
	if self.parts_size == 0 then return; end
	insert(self.parts, 1, self.buffer:sub(self.at));
	self.buffer, self.at = concat(self.parts), 1;
	self.parts, self.parts_size, self.line_end_pushed = {}, 0, false;
end

local function broken(self, text)
	self.error = text;
	self.buffer, self.at, self.parts, self.parts_size, self.message = "", 1, {}, 0, nil;
	return nil, text;
end

local function length(text)
	if not text or not text:match("^%d+$") then return nil; end
	local n = tonumber(text);
	return n <= max_declared and n or nil;
end

local function words(text)
	local list = {};
	for word in text:gmatch("[^ \t]+") do insert(list, word); end
	return list;
end

-- The line before a payload: `MSG subject sid [reply] size`, `HMSG subject sid [reply] header-size size`.
local function parse_message_line(kind, arguments)
	local list = words(arguments);
	local sizes = kind == "HMSG" and 2 or 1;
	local has_reply = #list == 3 + sizes;
	if not has_reply and #list ~= 2 + sizes then return nil; end
	local size = length(list[#list]);
	local header_size = kind == "HMSG" and length(list[#list - 1]) or 0;
	if not size or not header_size or header_size > size then return nil; end
	return {
		kind = "MSG"; subject = list[1]; sid = list[2]; reply = has_reply and list[3] or nil;
		size = size; header_size = header_size;
	};
end

local function parse_line(self, line)
	local kind, arguments = line:match("^([^ \t]+)[ \t]*(.*)$");
	kind = kind and kind:upper();
	if kind == "MSG" or kind == "HMSG" then
		local message = parse_message_line(kind, arguments);
		if not message then return broken(self, "malformed "..kind); end
		self.message = message;
		if message.size > self.max_payload then
			message.oversize = true;
			self.skipping = message.size;
		end
		return self:next();
	elseif kind == "INFO" then
		return { kind = "INFO"; json = arguments };
	elseif kind == "-ERR" then
		return { kind = "-ERR"; text = arguments:match("^'(.*)'$") or arguments };
	elseif kind == "PING" or kind == "PONG" or kind == "+OK" then
		return { kind = kind };
	end
	return broken(self, "unknown operation");
end

local function finish_message(self, payload)
	local message = self.message;
	self.message = nil;
	if message.header_size > 0 and not message.oversize then
		message.headers, message.status, message.status_text = parse_headers(payload:sub(1, message.header_size));
		payload = payload:sub(message.header_size + 1);
	end
	message.payload = payload;
	return message;
end

local function skip(self)
	join(self);
	local available = #self.buffer - self.at + 1;
	local skipped = available < self.skipping and available or self.skipping;
	self.at = self.at + skipped;
	self.skipping = self.skipping - skipped;
	return self.skipping == 0;
end

local function next_message(self)
	if self.skipping > 0 and not skip(self) then return nil; end
	local size = self.message.oversize and 0 or self.message.size;
	if self:unread() < size + 2 then return nil; end
	join(self);
	local last = self.at + size - 1;
	if self.buffer:sub(last + 1, last + 2) ~= "\r\n" then
		return broken(self, "payload longer than declared");
	end
	local payload = self.buffer:sub(self.at, last);
	self.at = last + 3;
	return finish_message(self, payload);
end

function parser_methods:next()
	if self.error then return nil, self.error; end
	if self.message then return next_message(self); end
	local line_end = self.buffer:find("\n", self.at, true);
	if not line_end and self.line_end_pushed then
		join(self);
		line_end = self.buffer:find("\n", self.at, true);
	end
	if (line_end or self.at + self:unread()) - self.at > self.max_line then
		return broken(self, "line too long");
	elseif not line_end then
		return nil;
	end
	local line = self.buffer:sub(self.at, line_end - 1):gsub("\r$", "");
	self.at = line_end + 1;
	return parse_line(self, line);
end

-- A subject to publish to: tokens without white space, control characters or wildcards, divided by single dots.
local function is_subject(subject)
	return type(subject) == "string" and subject ~= "" and not subject:find("[%s%c*>]") and not subject:find("..", 1, true)
		and subject:sub(1, 1) ~= "." and subject:sub(-1) ~= ".";
end

-- A subject to subscribe to: `*` may stand for a token, `>` for the last ones.
local function is_pattern(subject)
	if type(subject) ~= "string" then return false; end
	return is_subject((("."..subject.."."):gsub("%.%*%f[.]", ".x"):gsub("%.>%.$", ".x."):sub(2, -2)));
end

local function serialise_connect(json)
	return "CONNECT "..json.."\r\n";
end

local function serialise_subscribe(subject, sid, queue)
	return "SUB "..subject.." "..(queue and queue.." " or "")..sid.."\r\n";
end

local function serialise_unsubscribe(sid)
	return "UNSUB "..sid.."\r\n";
end

-- Headers as a list of { name, value }; nil when one of them would break out of its line.
local function serialise_headers(headers)
	local block = { "NATS/1.0\r\n" };
	for _, header in ipairs(headers) do
		local name, value = header[1], header[2];
		if type(name) ~= "string" or type(value) ~= "string" or not name:match("^[!-9;-~]+$") or value:find("[%c]") then
			return nil;
		end
		insert(block, name..": "..value.."\r\n");
	end
	insert(block, "\r\n");
	return concat(block);
end

-- PUB, or HPUB when there are headers, and the size that counts against the broker's max_payload; nil, "bad-subject" or
-- "bad-header".
local function serialise_publish(subject, payload, reply, headers)
	if not is_subject(subject) or (reply and not is_subject(reply)) then return nil, "bad-subject"; end
	local address = subject..(reply and " "..reply or "").." ";
	if not headers or not headers[1] then
		return "PUB "..address..#payload.."\r\n"..payload.."\r\n", #payload;
	end
	local block = serialise_headers(headers);
	if not block then return nil, "bad-header"; end
	local size = #block + #payload;
	return "HPUB "..address..#block.." "..size.."\r\n"..block..payload.."\r\n", size;
end

return {
	new_parser = new_parser;
	parse_headers = parse_headers;
	last_header = last_header;
	is_subject = is_subject;
	is_pattern = is_pattern;
	connect = serialise_connect;
	subscribe = serialise_subscribe;
	unsubscribe = serialise_unsubscribe;
	publish = serialise_publish;
	ping = "PING\r\n";
	pong = "PONG\r\n";
};
