%%% One connection to one broker, from its login to its end: reads what comes, hands replies to whoever asked and
%%% messages to whoever subscribed, and notices when the broker is dead. Ends with `{shutdown, Reason}'.
-module(warder_nats_link).
-behaviour(gen_server).

-export([start_link/3, is_permission/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-record(state, {
    owner :: pid(),
    tables :: warder_nats:tables(),
    server :: warder_nats_servers:server(),
    options :: map(),
    transport :: warder_nats_writer:transport() | undefined,
    socket :: gen_tcp:socket() | undefined,
    parser :: warder_nats_protocol:parser() | undefined,
    writer :: pid() | undefined,
    queue :: warder_nats_writer:queue(),
    inbox :: binary(),
    %% Pings that the broker has not answered.
    pings = 0 :: non_neg_integer(),
    %% Why the broker will close the connection, if it said so.
    complaint :: binary() | undefined
}).

%% @doc Begins to connect. The caller, which must trap exits, is asked for `login_lines', told by the call
%% `{up, pid(), warder_nats:link()}' when requests may be made, and cast `{info, pid(), Info}' when the broker tells more, and
%% `{refused, pid(), Text}' when it complains of one subject.
-spec start_link(warder_nats:tables(), warder_nats_servers:server(), map()) -> {ok, pid()}.
start_link(Tables, Server, Options) ->
    {ok, _} = gen_server:start_link(?MODULE, {self(), Tables, Server, Options}, []).

%% @doc Whether the broker complains of one subject and keeps the connection.
-spec is_permission(binary()) -> boolean().
is_permission(Text) ->
    binary:match(string:lowercase(Text), <<"permissions violation">>) =/= nomatch.

%% @private
init({Owner, Tables, Server, #{inbox := Name} = Options}) ->
    %% Nobody can guess where replies arrive.
    Random = binary:encode_hex(crypto:strong_rand_bytes(12)),
    State = #state{
        owner = Owner,
        tables = Tables,
        server = Server,
        options = Options,
        queue = warder_nats_writer:new_queue(),
        inbox = <<"_INBOX.", Name/binary, ".", Random/binary, ".">>
    },
    {ok, State, {continue, open}}.

%% @private
handle_continue(open, #state{owner = Owner, server = Server, options = Options, inbox = Inbox} = State) ->
    Replies = warder_nats_protocol:subscribe(<<Inbox/binary, "*">>, warder_nats:inbox_sid(), undefined),
    Lines = fun() -> [Replies, gen_server:call(Owner, login_lines, infinity)] end,
    case warder_nats_login:open(Server, Options, Lines) of
        {ok, Connection} -> up(Connection, State);
        {error, Reason} -> {stop, {shutdown, {connect, Reason}}, State}
    end.

up(#{transport := Transport, socket := Socket, info := Info, parser := Parser, early := Early}, State) ->
    #state{owner = Owner, queue = Queue, inbox = Inbox, options = #{ping_interval := Interval}} = State,
    Writer = warder_nats_writer:start_link(Transport, Queue),
    Link = #{pid => self(), writer => Writer, queue => Queue, inbox => Inbox, info => Info, max_payload => most(Info)},
    Listeners = gen_server:call(Owner, {up, self(), Link}, infinity),
    %% Told from here: who hears of this connection hears it before whatever comes by it.
    _ = [Pid ! {warder_nats, Ref, {connected, Info}} || {Pid, Ref} <- Listeners],
    _ = erlang:send_after(Interval, self(), ping),
    State1 = State#state{transport = Transport, socket = Socket, parser = Parser, writer = Writer},
    continue(operations(Early, State1)).

most(#{<<"max_payload">> := Most}) when is_integer(Most) -> Most;
most(_) -> infinity.

%% @private
handle_call(_Request, _From, State) ->
    {noreply, State}.

%% @private
handle_cast({write, Bytes}, State) ->
    {noreply, write(Bytes, State)}.

%% @private
handle_info({Kind, _Socket, Bytes}, #state{parser = Parser} = State) when Kind =:= tcp; Kind =:= ssl ->
    case warder_nats_protocol:push(Bytes, Parser) of
        {ok, Operations, Parser1} ->
            continue(operations(Operations, State#state{parser = Parser1}));
        {error, Reason, _} ->
            lost(<<"this is not NATS: ", Reason/binary>>, State)
    end;
handle_info({Kind, _Socket}, State) when Kind =:= tcp_closed; Kind =:= ssl_closed ->
    lost(<<"closed by the server">>, State);
handle_info({Kind, _Socket, Reason}, State) when Kind =:= tcp_error; Kind =:= ssl_error ->
    lost(iolist_to_binary(io_lib:format("~0p", [Reason])), State);
handle_info(ping, #state{pings = Pings, options = #{ping_max := Max}} = State) when Pings >= Max ->
    lost(iolist_to_binary(io_lib:format("no answer to ~b pings", [Pings])), State);
handle_info(ping, #state{pings = Pings, options = #{ping_interval := Interval}} = State) ->
    _ = erlang:send_after(Interval, self(), ping),
    {noreply, write(warder_nats_protocol:ping(), State#state{pings = Pings + 1})};
handle_info(_Other, State) ->
    {noreply, State}.

continue(#state{transport = {Module, Socket}} = State) ->
    Options = [{active, once}],
    Set =
        case Module of
            gen_tcp -> inet:setopts(Socket, Options);
            ssl -> ssl:setopts(Socket, Options)
        end,
    case Set of
        ok -> {noreply, State};
        {error, _} -> lost(<<"closed by the server">>, State)
    end.

%% Waits for no broker that may never read again: what it has not taken is thrown away, so that it is not asked by it
%% when it wakes up.
lost(Reason, #state{socket = Socket, complaint = Complaint} = State) ->
    _ = inet:setopts(Socket, [{linger, {true, 0}}]),
    Told =
        case Complaint of
            undefined -> Reason;
            _ -> Complaint
        end,
    {stop, {shutdown, {lost, Told}}, State}.

operations(Operations, State) ->
    lists:foldl(fun operation/2, State, Operations).

operation({msg, #{sid := Sid} = Message}, #state{tables = Tables, inbox = Inbox} = State) ->
    case Sid =:= warder_nats:inbox_sid() of
        true -> warder_nats:deliver_reply(Tables, byte_size(Inbox), Message);
        false -> warder_nats:deliver(Tables, Message)
    end,
    State;
operation(ping, State) ->
    write(warder_nats_protocol:pong(), State);
operation(pong, State) ->
    State#state{pings = 0};
operation(ok, State) ->
    State;
operation({info, Json}, #state{owner = Owner, server = Server} = State) ->
    case warder_json:decode(Json) of
        {ok, Info} when is_map(Info) -> gen_server:cast(Owner, {info, self(), Info});
        _ -> ?LOG_WARNING("NATS at ~s sent an INFO that cannot be read", [warder_nats_servers:label(Server)])
    end,
    State;
operation({err, Text}, #state{owner = Owner, server = Server} = State) ->
    case is_permission(Text) of
        true ->
            gen_server:cast(Owner, {refused, self(), Text}),
            ?LOG_ERROR("NATS at ~s complains: ~ts", [warder_nats_servers:label(Server), Text]),
            State;
        false ->
            %% The broker closes the connection itself; this is why.
            State#state{complaint = Text}
    end.

write(Bytes, #state{writer = Writer, queue = Queue} = State) ->
    ok = warder_nats_writer:write(Writer, Queue, Bytes),
    State.
