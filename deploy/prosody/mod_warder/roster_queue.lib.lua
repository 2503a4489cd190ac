-- Whose roster is asked for next: so many at once in this process, the others in two lines. Plain Lua; knows nothing of
-- what is asked.
--
-- local queue = module:require "roster_queue".new(16);
-- queue:add(job, is_single)      job(done): begins now or later; done() when it has ended, any number of times, even before
--     job() returns. A job may have become needless by then: it calls done() and does nothing
-- queue.running, queue:waiting()
--
-- One line is for changes of single users, the other for what concerns everybody. They take turns, so that a change is
-- seen soon while thousands are waiting, and these come to an end whatever changes meanwhile.

local setmetatable, xpcall = setmetatable, xpcall;
local traceback = debug.traceback;

local queue_methods = {};
local queue_mt = { __index = queue_methods };

local function new_line()
	return { first = 1; last = 0 };
end

local function new(most, on_error)
	return setmetatable({
		most = most; running = 0; on_error = on_error; single = new_line(); mass = new_line(); is_mass_next = false;
	}, queue_mt);
end

local function take(line)
	local job = line[line.first];
	if not job then return nil; end
	line[line.first], line.first = nil, line.first + 1;
	if line.first > line.last then line.first, line.last = 1, 0; end
	return job;
end

local function take_next(self)
	local first, second = self.single, self.mass;
	if self.is_mass_next then first, second = second, first; end
	self.is_mass_next = not self.is_mass_next;
	return take(first) or take(second);
end

local function run(self)
	-- Who is done at once does not begin the next one from within.
	if self.is_starting then return; end
	self.is_starting = true;
	while self.running < self.most do
		local job = take_next(self);
		if not job then break; end
		self.running = self.running + 1;
		local is_done = false;
		local function done()
			if is_done then return; end
			is_done = true;
			self.running = self.running - 1;
			run(self);
		end
		local ok, err = xpcall(job, traceback, done);
		if not ok then
			self.on_error(err);
			done();
		end
	end
	self.is_starting = false;
end

function queue_methods:add(job, is_single)
	local line = is_single and self.single or self.mass;
	line.last = line.last + 1;
	line[line.last] = job;
	run(self);
end

local function length(line)
	return line.last - line.first + 1;
end

function queue_methods:waiting()
	return length(self.single) + length(self.mass);
end

return { new = new };
