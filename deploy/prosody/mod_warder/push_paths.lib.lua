-- The push paths of mod_http_roster_admin and mod_msg_filter on Prosody's own HTTP port, for applications that call them
-- there: who may, and how it is answered. What is behind them is in push_refresh.lib.lua and push_flush.lib.lua.
--
-- module:require "push_paths".start(settings.push_token, { refresh = , flush = });

local json = module:require "json";
local push_guard = module:require "push_guard";

local function respond(response, code, answer)
	response.status_code = code;
	response.headers.content_type = "application/json";
	if code == 401 then response.headers.www_authenticate = "Bearer"; end
	response:send(json.encode(answer));
end

local function start(token, paths)
	local is_there, err = pcall(module.depends, module, "http");
	if not is_there then
		module:log("error", "warder_push_paths needs mod_http: %s", err);
		return;
	end
	local refusal_of = push_guard.new(token);

	local function guarded(handle)
		return function (event)
			local request, response = event.request, event.response;
			local ok, problem = xpcall(function ()
				local refusal = refusal_of(request);
				if refusal then return respond(response, refusal.code, { status = "error", message = refusal.message }); end
				handle(request.body, function (code, answer) respond(response, code, answer); end);
			end, debug.traceback);
			if not ok then
				module:log("error", "%s failed: %s", request.path, problem);
				respond(response, 500, { status = "error", message = "this failed; the log says why" });
			end
			return true;
		end;
	end

	-- Browsers have no business here.
	local cors = { enabled = false };
	-- The names by which the option http_paths can put them elsewhere.
	module:provides("http", {
		name = "roster_admin"; default_path = "/roster_admin"; cors = cors;
		route = { ["POST /refresh"] = guarded(paths.refresh) };
	});
	module:provides("http", {
		name = "mod_msg_filter"; default_path = "/mod_msg_filter"; cors = cors;
		route = { ["POST"] = guarded(paths.flush), ["POST /"] = guarded(paths.flush) };
	});
end

return { start = start };
