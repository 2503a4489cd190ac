-- The brokers to connect to: URLs read, tried in random order, joined by those that a broker tells of. Plain Lua.
--
-- local pool = servers.new_pool(urls, random)     urls: list or comma-separated string; random(n) -> 1..n
-- -> pool, or nil, text that names no password
-- pool:next() -> server = { host, port, label, tls, user, password, token, tls_name }, or nil when all have been tried
-- pool:shuffle(last)     start over; `last` (the server just lost) is tried after the others
-- pool:learn(connect_urls, from)

local type, ipairs, tonumber, setmetatable = type, ipairs, tonumber, setmetatable;
local insert, remove = table.insert, table.remove;

-- A broker that tells of ever new addresses must not fill the memory.
local max_servers = 64;

local function percent_decode(text)
	return text and (text:gsub("%%(%x%x)", function (hex) return string.char(tonumber(hex, 16)); end));
end

-- One of nats://, tls:// or nothing; then user:password@ or token@; then a name, an address, or [an IPv6 address].
local function parse_url(url)
	if type(url) ~= "string" then return nil, "a NATS URL must be a string"; end
	local scheme, rest = url:match("^%s*(%a[%w+.-]*)://(.-)/?%s*$");
	if not scheme then
		scheme, rest = "nats", url:match("^%s*(.-)/?%s*$");
	end
	scheme = scheme:lower();
	local credentials, address = rest:match("^(.*)@([^@]*)$");
	address = address or rest;
	local host, port = address:match("^%[([%x:.]+)%]:?(%d*)$");
	if not host then
		host, port = address:match("^([^:%s/%[%]]+):?(%d*)$");
	end
	port = tonumber(port ~= "" and port or 4222);
	if scheme ~= "nats" and scheme ~= "tls" then
		return nil, "a NATS URL begins with nats:// or tls://, not with "..scheme.."://";
	elseif not host or not port or port < 1 or port > 65535 then
		return nil, "not a NATS URL: "..scheme.."://"..address.." (nats://host:4222 was expected)";
	end
	local server = { host = host; port = port; tls = scheme == "tls"; tls_name = host };
	server.label = (host:find(":", 1, true) and "["..host.."]" or host)..":"..port;
	if credentials then
		local user, password = credentials:match("^([^:]*):(.*)$");
		if user then
			server.user, server.password = percent_decode(user), percent_decode(password);
		else
			server.token = percent_decode(credentials);
		end
	end
	return server;
end

local pool_methods = {};
local pool_mt = { __index = pool_methods };

local function new_pool(urls, random)
	local list = {};
	if type(urls) == "string" then
		for url in urls:gmatch("[^,]+") do insert(list, url); end
	elseif type(urls) == "table" then
		list = urls;
	end
	local pool = setmetatable({ all = {}, known = {}, order = {}, random = random }, pool_mt);
	for _, url in ipairs(list) do
		local server, err = parse_url(url);
		if not server then return nil, err; end
		if not pool.known[server.label] then
			pool.known[server.label] = true;
			insert(pool.all, server);
		end
	end
	if not pool.all[1] then return nil, "no NATS server is configured"; end
	pool:shuffle();
	return pool;
end

function pool_methods:shuffle(last)
	local rest = {};
	for _, server in ipairs(self.all) do
		if server ~= last then insert(rest, server); end
	end
	self.order = {};
	while rest[1] do insert(self.order, remove(rest, self.random(#rest))); end
	if last then insert(self.order, last); end
end

function pool_methods:next()
	return remove(self.order, 1);
end

-- What one member of a cluster says of the others. Their certificates carry names, where these are often addresses, so
-- the name and the credentials stay those of the server that told.
function pool_methods:learn(connect_urls, from)
	if type(connect_urls) ~= "table" then return; end
	for _, url in ipairs(connect_urls) do
		local server = parse_url(url);
		if server and not self.known[server.label] and #self.all < max_servers then
			self.known[server.label] = true;
			server.tls = from.tls;
			server.user, server.password, server.token = from.user, from.password, from.token;
			if server.host:match("^[%d.]+$") or server.host:find(":", 1, true) then
				server.tls_name = from.tls_name;
			end
			insert(self.all, server);
		end
	end
end

return { new_pool = new_pool, parse_url = parse_url };
