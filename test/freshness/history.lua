-- Writes the history of an asker: one JSON list a line, in batches. Knows the form of a line and no meaning.
--
-- local history = require "history".new(file, clock);
-- history:write(tag, ...)      texts and whole numbers; history.raw(text) stands as it is
-- history:flush_if_due()       at most 50 ms after it was written
-- history:flush()
-- history.micros(seconds) -> text

local setmetatable, type, select, concat, format = setmetatable, type, select, table.concat, string.format;

local flush_interval = 0.05;

local history_methods = {};
local history_mt = { __index = history_methods };
local raw_mt = {};

local escapes = { ['"'] = '\\"', ["\\"] = "\\\\" };

local function escape(letter)
	return escapes[letter] or format("\\u%04x", letter:byte());
end

local function quote(text)
	if text:find('[%c"\\]') then text = text:gsub('[%c"\\]', escape); end
	return '"'..text..'"';
end

local function raw(text)
	return setmetatable({ text = text }, raw_mt);
end

local function new(file, clock)
	file:setvbuf("full", 65536);
	return setmetatable({ file = file, clock = clock, lines = {}, count = 0, flushed_at = clock() }, history_mt);
end

function history_methods:write(...)
	local parts = {};
	for i = 1, select("#", ...) do
		local part = select(i, ...);
		local kind = type(part);
		parts[i] = kind == "string" and quote(part) or kind == "number" and format("%.0f", part) or kind == "table" and part.text or "null";
	end
	self.count = self.count + 1;
	self.lines[self.count] = "["..concat(parts, ",").."]\n";
	if self.count >= 256 then self:flush(); end
end

function history_methods:flush()
	self.file:write(concat(self.lines, "", 1, self.count));
	self.file:flush();
	self.count, self.flushed_at = 0, self.clock();
end

function history_methods:flush_if_due()
	if self.count > 0 and self.clock() - self.flushed_at >= flush_interval then self:flush(); end
end

return {
	new = new;
	raw = raw;
	quote = quote;
	micros = function (seconds) return seconds * 1e6; end;
};
