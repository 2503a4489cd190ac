package.path = (arg[0]:match("^(.*)/[^/]*$") or ".").."/?.lua;"..package.path;
local harness = require "harness";
local test, equal, check = harness.test, harness.equal, harness.check;
local servers = module:require "nats_servers";
local random = harness.random(1);

local function read(url)
	local server, err = servers.parse_url(url);
	if not server then return nil, err; end
	return { server.host, server.port, server.tls, server.user or "", server.password or "", server.token or "" };
end

test("reads every form of a URL", function ()
	equal(read("nats://localhost:4223"), { "localhost", 4223, false, "", "", "" });
	equal(read("tls://nats.example.org"), { "nats.example.org", 4222, true, "", "", "" });
	equal(read(" broker:1 "), { "broker", 1, false, "", "", "" });
	equal(read("127.0.0.1"), { "127.0.0.1", 4222, false, "", "", "" });
	equal(read("nats://user:p%40ss%3A@[::1]:5/"), { "::1", 5, false, "user", "p@ss:", "" });
	equal(read("nats://user:@h"), { "h", 4222, false, "user", "", "" });
	equal(read("NATS://s3cret@h"), { "h", 4222, false, "", "", "s3cret" });
	equal(servers.parse_url("nats://[::1]:5").label, "[::1]:5");
end);

test("refuses what is none, without telling the password", function ()
	for _, url in ipairs {
		"", "nats://", "http://h", "ws://h:80", "nats://h:0", "nats://h:70000", "nats://h:x", "nats://a b", "nats://me:pass@h:x", 5, {},
	} do
		local server, err = servers.parse_url(url);
		equal(server, nil);
		check(type(err) == "string" and not err:find("pass", 1, true), tostring(err));
	end
	for _, urls in ipairs { "", ",", {}, 5 } do
		equal(servers.new_pool(urls, random), nil);
	end
	equal(servers.new_pool(nil, random), nil);
end);

local function drain(pool)
	local labels = {};
	for server in function () return pool:next(); end do table.insert(labels, server.label); end
	return labels;
end

test("tries each server once a round, in random order", function ()
	local pool = servers.new_pool("nats://a, nats://b,nats://c, nats://a", random);
	local firsts = {};
	for _ = 1, 200 do
		local order = drain(pool);
		firsts[order[1]] = (firsts[order[1]] or 0) + 1;
		table.sort(order);
		equal(order, { "a:4222", "b:4222", "c:4222" });
		equal(pool:next(), nil);
		pool:shuffle();
	end
	for _, label in ipairs { "a:4222", "b:4222", "c:4222" } do
		check((firsts[label] or 0) > 30, label.." hardly ever comes first");
	end
end);

test("tries the server that was lost last", function ()
	local pool = servers.new_pool({ "a", "b", "c" }, random);
	local lost = pool:next();
	for _ = 1, 20 do
		pool:shuffle(lost);
		equal(drain(pool)[3], lost.label);
	end
end);

test("learns the other servers of a cluster, with the credentials and the name that are known", function ()
	local pool = servers.new_pool("tls://me:pw@one.example.org", random);
	local one = pool:next();
	pool:learn({ "10.0.0.2:4222", "two.example.org:4222", "one.example.org:4222", "bad url", 5 }, one);
	pool:learn("nonsense", one);
	pool:shuffle(one);
	local learnt = {};
	for server in function () return pool:next(); end do learnt[server.label] = server; end
	equal(learnt["10.0.0.2:4222"].tls_name, "one.example.org");
	equal(learnt["two.example.org:4222"].tls_name, "two.example.org");
	equal({ learnt["10.0.0.2:4222"].tls, learnt["10.0.0.2:4222"].user, learnt["10.0.0.2:4222"].password }, { true, "me", "pw" });
	local many = {};
	for i = 1, 1000 do many[i] = "h"..i..":1"; end
	pool:learn(many, one);
	pool:shuffle();
	equal(#drain(pool), 64);
end);

harness.finish();
