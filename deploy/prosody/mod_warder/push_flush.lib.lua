-- POST /mod_msg_filter/: what is remembered of a user is not to be trusted any more. Passed on to a worker, because hooks
-- may not publish changes. Knows no HTTP.
--
-- local flush = module:require "push_flush".new(client, prefix, encoding);
-- flush(body, done)     done(code, answer), exactly once, possibly before flush() returns
--   body: <flush jid="user@domain"/>, also unclosed; answer: { status, token } or { status, message }

local jid = require "util.jid";
local xml = require "util.xml";
local valid_utf8 = require "util.encodings".utf8.valid;

local codec = module:require "codec";

local timeout_seconds = 5;
-- More than any flush has.
local max_body_bytes = 16 * 1024;

local function refuse(done, code, message)
	return done(code, { status = "error", message = message });
end

-- Its author wrote it without the end.
local function closed(text)
	return text:find("^<flush%s[^<>]*[^<>/]>$") and text.."</flush>" or text;
end

-- The bare JID, or nil and what would be right.
local function user_of(body)
	local ok, flush = pcall(xml.parse, closed(body:match("^%s*(.-)%s*$")));
	if not ok or not flush or flush.name ~= "flush" or not flush.attr.jid then
		return nil, "the body must be <flush jid=\"user@domain\"/>";
	end
	local node, host, resource = jid.prepped_split(flush.attr.jid);
	if not host or resource then return nil, "jid must be a bare JID: user@domain"; end
	return jid.join(node, host);
end

local function token_of(message)
	local reply = not message.oversize and codec.decode(message.payload);
	local seq = reply and reply.failure == nil and reply.v == 1 and reply.seq;
	return type(seq) == "number" and seq or nil;
end

local function new(client, prefix, encoding)
	return function (body, done)
		if type(body) ~= "string" or not valid_utf8(body) then return refuse(done, 400, "the body must be XML in UTF-8"); end
		if #body > max_body_bytes then return refuse(done, 413, "the body is too long"); end
		local user, problem = user_of(body);
		if not user then return refuse(done, 400, problem); end
		local unpublished = "the change could not be published; send it again";
		if not client then return refuse(done, 503, unpublished); end
		local request = codec.encode({ v = 1, user = user }, encoding);
		client:request(prefix..".ctl.flush", request, timeout_seconds, function (err, message)
			local token = not err and token_of(message);
			if not token then return refuse(done, 503, unpublished); end
			done(200, { status = "ok", token = token });
		end);
	end;
end

return { new = new };
