-- Goes on reading from whoever had to wait. While a hook waits, Prosody pauses the connection of the sender; with
-- net.server_epoll, resuming it leaves what the socket library has read already lying there until more comes. The end of
-- what a client or a server sends in one go would be delivered with the next thing that it sends.
--
-- local reading = module:require "reading";
-- reading.go_on(session)      after a wait in the session's runner, before the runner ends and its connection is resumed
-- reading.resume(conn)        instead of conn:resume()

local timer = require "util.timer";

-- Connections that have been taught to look, whichever host of the process they are with. Outlives a reload.
local shared = module:shared("/*/warder/reading");
shared.taught = shared.taught or setmetatable({}, { __mode = "k" });
local taught = shared.taught;

local function has_more(conn)
	local socket = conn.conn;
	return socket and socket.dirty and conn.onreadable and socket:dirty();
end

local function look(conn)
	if not has_more(conn) then return; end
	timer.add_task(0, function ()
		-- Paused again: it is looked at when it is resumed again.
		if conn._wantread and has_more(conn) then conn:onreadable(); end
	end);
end

local function resume(conn)
	conn:resume();
	if not taught[conn] then look(conn); end
end

-- Other modules may wait after this one, so it is the resuming itself that has to look.
local function go_on(session)
	local conn = session.conn;
	if not conn or taught[conn] or not conn.onreadable then return; end
	local resume_only = conn.resume;
	taught[conn] = true;
	function conn:resume()
		local ok, err = resume_only(self);
		look(self);
		return ok, err;
	end
end

return { go_on = go_on, resume = resume };
