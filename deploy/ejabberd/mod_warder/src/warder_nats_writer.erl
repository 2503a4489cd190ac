%%% Writes to one broker what many processes want sent. Whoever sends to the socket himself waits for as long as the
%% broker does not read; here only this process does, and those who ask wait for their answers alone.
%%%
%%% What is waiting goes out in one piece: with many senders a system call carries many messages.
-module(warder_nats_writer).

-export([start_link/2, reserve/3, write/4, write/3, close/1, new_queue/0, unsent/1]).
-export([loop/1]).
-export_type([queue/0, transport/0]).

%% How much goes into one piece. More makes nothing faster and lets a pong wait longer.
-define(MAX_PIECE, 65536).
%% No count of bytes reaches it: a queue that is closed takes nothing.
-define(CLOSED, 16#FFFFFFFFFFFFFF).

-record(state, {transport :: transport(), queue :: queue()}).

%% How many bytes wait. Counted by the senders, so that none of them has to ask.
-type queue() :: atomics:atomics_ref().
-type transport() :: {gen_tcp, gen_tcp:socket()} | {ssl, ssl:sslsocket()}.

-spec new_queue() -> queue().
new_queue() ->
    atomics:new(1, [{signed, true}]).

%% @doc Called by the process that owns the socket, and ends with it. When the socket ends it exits with
%% `{shutdown, {send, Reason}}'.
%%
%% No gen_server: it stands in send for as long as the broker does not read, and would answer nothing in that time.
-spec start_link(transport(), queue()) -> pid().
start_link(Transport, Queue) ->
    proc_lib:spawn_link(?MODULE, loop, [#state{transport = Transport, queue = Queue}]).

%% @doc Takes room for so many bytes. False when there is none: a broker that has stopped reading is as good as gone, and
%% so is one whose connection is lost. Must be followed by {@link write/4}.
-spec reserve(queue(), Size :: non_neg_integer(), Max :: pos_integer()) -> boolean().
reserve(Queue, Size, Max) ->
    case atomics:add_get(Queue, 1, Size) of
        Unsent when Unsent =< Max ->
            true;
        _ ->
            atomics:sub(Queue, 1, Size),
            false
    end.

%% @doc Sends it unless the deadline (monotonic milliseconds) passes first. Never waits.
-spec write(pid(), iodata(), Size :: non_neg_integer(), Deadline :: integer() | infinity) -> ok.
write(Writer, Bytes, Size, Deadline) ->
    Writer ! {write, Deadline, Size, Bytes},
    ok.

%% @doc Without a reservation: what the connection itself cannot do without.
-spec write(pid(), queue(), iodata()) -> ok.
write(Writer, Queue, Bytes) ->
    Size = iolist_size(Bytes),
    atomics:add(Queue, 1, Size),
    write(Writer, Bytes, Size, infinity).

%% @doc From now on there is no room.
-spec close(queue()) -> ok.
close(Queue) ->
    atomics:put(Queue, 1, ?CLOSED).

-spec unsent(queue()) -> non_neg_integer().
unsent(Queue) ->
    atomics:get(Queue, 1).

%% @private
loop(State) ->
    receive
        {write, Deadline, Size, Bytes} ->
            collect(Size, add(Deadline, now_ms(), Bytes, []), State)
    end.

collect(Size, Pieces, State) when Size >= ?MAX_PIECE ->
    send(Size, Pieces, State);
collect(Size, Pieces, State) ->
    receive
        {write, Deadline, More, Bytes} -> collect(Size + More, add(Deadline, now_ms(), Bytes, Pieces), State)
    after 0 -> send(Size, Pieces, State)
    end.

add(Deadline, Now, _Bytes, Pieces) when is_integer(Deadline), Deadline =< Now -> Pieces;
add(_Deadline, _Now, Bytes, Pieces) -> [Bytes | Pieces].

send(Size, Pieces, #state{transport = {Module, Socket}, queue = Queue} = State) ->
    case Module:send(Socket, lists:reverse(Pieces)) of
        ok ->
            atomics:sub(Queue, 1, Size),
            loop(State);
        {error, Reason} ->
            exit({shutdown, {send, Reason}})
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
