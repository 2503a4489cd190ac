-- Lets a test drive the NATS client inside a real Prosody: one command an HTTP request, JSON both ways.

local nats = module:require "nats";
local connection = module:require "connection";
local ask = module:require "ask";
local async = require "util.async";
local json = require "util.json";
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
	local client, release_or_error = connection.acquire();
	if not client then return { error = release_or_error }; end
	watch(command.client, client);
	release = release_or_error;
	return {};
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
	return { server = client.server_info and client.server_info.port };
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

function commands.unsubscribe(command)
	unsubscribers[command.subject]();
	return {};
end

function commands.messages(command)
	return { messages = messages[command.subject] };
end

function commands.state(command)
	local client = clients[command.client];
	return { connected = client:connected(), stats = client:stats(), statuses = statuses[command.client], max_payload = client:max_payload() };
end

function commands.close(command)
	clients[command.client]:close();
	return {};
end

function commands.ask(command)
	local asker = ask.new { client = clients[command.client]; server = "probe"; encoding = command.encoding };
	local reply, failure = asker:wait(command.operation, command.request, { budget_ms = command.budget_ms });
	return { reply = reply, failure = failure, stats = asker.stats };
end

function module.unload()
	if release then release(); end
end

module:provides("http", {
	default_path = "/probe";
	route = {
		POST = function (event)
			local command = json.decode(event.request.body);
			event.response.headers.content_type = "application/json";
			return json.encode(commands[command.command](command));
		end;
	};
});
