-- Lets a test drive the NATS client inside a real Prosody: one command an HTTP request, JSON both ways. It may be loaded
-- on several hosts; each keeps clients of its own.

local nats = module:require "nats";
local connection = module:require "connection";
local ask = module:require "ask";
local array = require "util.array";
local async = require "util.async";
local json = require "util.json";
local modulemanager = require "core.modulemanager";
local timer = require "util.timer";

module:depends("http");

local clients, unsubscribers, messages, statuses = {}, {}, {}, {};
local release;

local commands = {};

local function watch(name, client)
	clients[name] = client;
	statuses[name] = {};
	client:on_status(function (...) table.insert(statuses[name], { ... }); end);
end

function commands.connect(command)
	local client, err = nats.connect(command.options);
	if client then watch(command.client, client); end
	return { error = err };
end

function commands.acquire(command)
	local client;
	client, release = connection.acquire();
	if client then watch(command.client, client); end
	return { acquired = client ~= nil };
end

function commands.release()
	release();
	return {};
end

-- Answers when the client is connected (or, with connected = false, is not), however long that takes.
function commands.until_connected(command)
	local client = clients[command.client];
	local wait, done = async.waiter();
	local wanted = command.connected ~= false;
	local function look()
		if client:connected() == wanted then return done(); end
		timer.add_task(0.01, look);
	end
	look();
	wait();
	return { client_id = client.server_info and client.server_info.client_id };
end

function commands.request(command)
	local wait, done = async.waiter();
	local answer = {};
	local payload = command.size and ("x"):rep(command.size) or command.payload;
	clients[command.client]:request(command.subject, payload, command.timeout, function (err, message)
		answer.error = err;
		answer.payload = message and message.payload;
		done();
	end);
	wait();
	return answer;
end

function commands.publish(command)
	local ok, err = clients[command.client]:publish(command.subject, command.payload, nil, command.headers);
	return { ok = ok, error = err };
end

function commands.subscribe(command)
	messages[command.subject] = {};
	unsubscribers[command.subject] = clients[command.client]:subscribe(command.subject, function (message)
		table.insert(messages[command.subject], { payload = message.payload, headers = message.headers, reply = message.reply });
	end);
	return {};
end

-- A round trip: what was published before it has been delivered, when it is answered.
function commands.flush(command)
	return commands.request { client = command.client, subject = "no.such.subject", payload = "", timeout = 10 };
end

function commands.unsubscribe(command)
	unsubscribers[command.subject]();
	return {};
end

function commands.messages(command)
	return { messages = array(messages[command.subject]) };
end

function commands.state(command)
	local client = clients[command.client];
	return {
		connected = client:connected(); stats = client:stats(); max_payload = client:max_payload();
		statuses = array(statuses[command.client]);
	};
end

function commands.close(command)
	clients[command.client]:close();
	return {};
end

function commands.ask(command)
	local asker = ask.new { client = clients[command.client]; server = "probe"; encoding = command.encoding };
	local reply, failure = asker:wait(command.operation, command.request, {
		budget_ms = command.budget_ms; stanza_on_demand = command.stanza_on_demand;
	});
	return { reply = reply, failure = failure, stats = asker.stats };
end

-- Outside of an async context, where waiting is not possible.
function commands.ask_from_timer(command)
	local asker = ask.new { client = clients[command.client] };
	local wait, done = async.waiter();
	local answer;
	timer.add_task(0, function ()
		local reply, failure = asker:wait(command.operation, command.request, { budget_ms = command.budget_ms });
		answer = { reply = reply, failure = failure };
		done();
	end);
	wait();
	return answer;
end

function commands.reload(command)
	local ok, err = modulemanager.reload(command.host, "nats_probe");
	return { ok = ok and true, error = err };
end

function module.unload()
	if release then release(); end
end

module:provides("http", {
	default_path = "/$host";
	route = {
		POST = function (event)
			local command = json.decode(event.request.body);
			event.response.headers.content_type = "application/json";
			return json.encode(commands[command.command](command));
		end;
	};
});
