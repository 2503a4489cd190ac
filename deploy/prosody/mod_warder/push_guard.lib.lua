-- Who may push changes: whoever has the bearer token. Without one configured only this machine may, and only when it
-- speaks for itself: a request that a proxy forwards comes from loopback too.
--
-- local refusal_of = module:require "push_guard".new(token);
-- refusal_of(request) -> nil, or { code, message }

local hashes = require "util.hashes";

local forwarding_headers = { "forwarded", "x_forwarded_for", "x_forwarded_host", "x_real_ip", "via" };

-- The connection's own address: request.ip is what a trusted proxy says (option trusted_proxies).
local function is_own_machine(request)
	local address = tostring(request.conn:ip()):gsub("^::ffff:", "");
	if address ~= "::1" and not address:find("^127%.") then return false; end
	for _, name in ipairs(forwarding_headers) do
		if request.headers[name] then return false; end
	end
	return true;
end

-- In a time that tells nothing about where they differ.
local function is_equal(a, b)
	return hashes.equals(hashes.sha256(a), hashes.sha256(b));
end

local function new(token)
	return function (request)
		if is_own_machine(request) then return nil; end
		if not token then
			return { code = 403, message = "no push token is configured (warder_push_token), so only this machine itself may push" };
		end
		local scheme, given = (request.headers.authorization or ""):match("^(%a+) +(%S+) *$");
		if not scheme or scheme:lower() ~= "bearer" then
			return { code = 401, message = "a bearer token is needed: Authorization: Bearer TOKEN" };
		end
		if not is_equal(given, token) then return { code = 401, message = "the bearer token is wrong" }; end
	end;
end

return { new = new };
