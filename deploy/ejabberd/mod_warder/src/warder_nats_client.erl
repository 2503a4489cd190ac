%%% Keeps one connection to one of several brokers: connects, again and again with growing pauses, remembers what is
%%% subscribed to, and fails what is pending when the connection goes. Requests do not pass through it, see warder_nats.
-module(warder_nats_client).
-behaviour(gen_server).

-export([start_link/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

%% A connection that held for so long was a good one: losing it starts the pauses anew.
-define(STABLE_MS, 5000).
%% The same complaint is logged once in this time.
-define(COMPLAINT_MS, 60000).

-record(subscription, {pattern :: binary(), queue :: binary() | undefined, pid :: pid(), monitor :: reference()}).

-record(state, {
    name :: atom(),
    options :: map(),
    tables :: warder_nats:tables(),
    servers :: warder_nats_servers:servers(),
    %% The one that is connected to, or being tried.
    server :: warder_nats_servers:server() | undefined,
    link :: pid() | undefined,
    up_since :: integer() | undefined,
    rounds = 0 :: non_neg_integer(),
    %% By sid.
    subscriptions = #{} :: #{binary() => #subscription{}},
    last_sid = 1 :: pos_integer(),
    listeners = #{} :: #{reference() => pid()},
    complained = #{} :: #{binary() => integer()}
}).

%% @private
start_link(Name, Options) ->
    gen_server:start_link({local, Name}, ?MODULE, {Name, Options}, []).

%% @private
init({Name, Given}) ->
    process_flag(trap_exit, true),
    case warder_nats_options:read(Given) of
        {ok, Servers, Options} ->
            Tables = warder_nats:new_tables(Name, Options),
            {ok, connect(#state{name = Name, options = Options, tables = Tables, servers = Servers})};
        {error, Reason} ->
            {stop, {bad_option, Reason}}
    end.

connect(#state{servers = Servers, tables = Tables, options = Options, rounds = Rounds} = State) ->
    case warder_nats_servers:next(Servers) of
        {Server, Others} ->
            {ok, Link} = warder_nats_link:start_link(Tables, Server, Options),
            State#state{servers = Others, server = Server, link = Link, up_since = undefined};
        none ->
            _ = erlang:send_after(pause(Rounds, Options), self(), connect),
            State#state{servers = warder_nats_servers:shuffle(Servers), rounds = Rounds + 1, link = undefined}
    end.

%% Half of it by chance, so that a thousand hooks do not come back at once.
pause(Rounds, #{reconnect_min := Min, reconnect_max := Max}) ->
    Longest = min(Max, Min bsl min(Rounds, 20)),
    Longest - rand:uniform(max(1, Longest div 2)) + 1.

%% @private
handle_call(login_lines, _From, #state{subscriptions = Subscriptions} = State) ->
    Lines = [subscribe_line(Sid, Subscription) || {Sid, Subscription} <- maps:to_list(Subscriptions)],
    {reply, Lines, State};
handle_call({up, Link, Row}, _From, #state{link = Link, server = Server, tables = Tables} = State) ->
    ok = warder_nats:opened(Tables, Row),
    ?LOG_INFO("Connected to NATS at ~s", [warder_nats_servers:label(Server)]),
    Listeners = [{Pid, Ref} || {Ref, Pid} <- maps:to_list(State#state.listeners)],
    State1 = learn(maps:get(info, Row), State),
    {reply, Listeners, State1#state{up_since = now_ms(), complained = #{}}};
handle_call({subscribe, Pattern, Queue, Pid}, _From, State) ->
    #state{last_sid = Last, subscriptions = Subscriptions, tables = Tables} = State,
    Sid = integer_to_binary(Last + 1),
    Ref = monitor(process, Pid),
    Subscription = #subscription{pattern = Pattern, queue = Queue, pid = Pid, monitor = Ref},
    ok = warder_nats:route(Tables, Sid, Pid, Ref),
    write(subscribe_line(Sid, Subscription), State),
    {reply, {ok, Ref}, State#state{last_sid = Last + 1, subscriptions = Subscriptions#{Sid => Subscription}}};
handle_call({unsubscribe, Ref}, _From, State) ->
    demonitor(Ref, [flush]),
    {reply, ok, forget(Ref, State)};
handle_call({listen, Pid}, _From, #state{listeners = Listeners, tables = Tables} = State) ->
    Ref = monitor(process, Pid),
    %% Told at once of a connection that is there already; of one that comes, by that.
    _ =
        case warder_nats:current(Tables) of
            #{info := Info} -> Pid ! {warder_nats, Ref, {connected, Info}};
            none -> ok
        end,
    {reply, {ok, Ref}, State#state{listeners = Listeners#{Ref => Pid}}}.

%% @private
handle_cast({info, Link, Info}, #state{link = Link} = State) ->
    {noreply, learn(Info, State)};
handle_cast({refused, Link, Text}, #state{link = Link} = State) ->
    tell({refused, Text}, State),
    {noreply, State};
handle_cast(_Other, State) ->
    {noreply, State}.

tell(News, #state{listeners = Listeners}) ->
    maps:foreach(fun(Ref, Pid) -> Pid ! {warder_nats, Ref, News} end, Listeners).

learn(Info, #state{servers = Servers, server = Server} = State) ->
    case Info of
        #{<<"ldm">> := true} -> ?LOG_INFO("NATS at ~s is about to shut down", [warder_nats_servers:label(Server)]);
        _ -> ok
    end,
    case Info of
        #{<<"connect_urls">> := Urls} when is_list(Urls) ->
            Told = [Url || Url <- Urls, is_binary(Url)],
            State#state{servers = warder_nats_servers:learn(Told, Server, Servers)};
        _ ->
            State
    end.

%% @private
handle_info({'EXIT', Link, Reason}, #state{link = Link} = State) ->
    {noreply, lost(Reason, State)};
handle_info(connect, State) ->
    {noreply, connect(State)};
handle_info({'DOWN', Ref, process, _, _}, State) ->
    {noreply, forget(Ref, State)};
handle_info(_Other, State) ->
    {noreply, State}.

lost(Reason, #state{up_since = undefined, server = Server} = State) ->
    Text = io_lib:format("Cannot connect to NATS at ~s: ~ts", [warder_nats_servers:label(Server), reason(Reason)]),
    connect(complain(unicode:characters_to_binary(Text), State));
lost(Reason, #state{up_since = UpSince, server = Server, servers = Servers, tables = Tables} = State) ->
    %% First nothing new can begin, then what is pending ends.
    ok = warder_nats:closed(Tables),
    Text = reason(Reason),
    ?LOG_WARNING("Lost the connection to NATS at ~s: ~ts", [warder_nats_servers:label(Server), Text]),
    tell({disconnected, Text}, State),
    case now_ms() - UpSince >= ?STABLE_MS of
        true -> connect(State#state{rounds = 0, servers = warder_nats_servers:shuffle(Servers, Server)});
        false -> connect(State)
    end.

reason({shutdown, {_, Text}}) when is_binary(Text) -> Text;
reason({shutdown, {send, Reason}}) -> unicode:characters_to_binary(io_lib:format("cannot write: ~0p", [Reason]));
reason(Reason) -> unicode:characters_to_binary(io_lib:format("~0p", [Reason])).

complain(Text, #state{complained = Complained} = State) ->
    Recent = maps:filter(fun(_, At) -> is_recent(At) end, Complained),
    case Recent of
        #{Text := _} ->
            State#state{complained = Recent};
        _ ->
            ?LOG_WARNING("~ts", [Text]),
            State#state{complained = Recent#{Text => now_ms()}}
    end.

is_recent(At) ->
    now_ms() - At < ?COMPLAINT_MS.

forget(Ref, #state{subscriptions = Subscriptions, listeners = Listeners, tables = Tables} = State) ->
    case [Sid || {Sid, #subscription{monitor = Monitor}} <- maps:to_list(Subscriptions), Monitor =:= Ref] of
        [Sid] ->
            ok = warder_nats:unroute(Tables, Sid),
            write(warder_nats_protocol:unsubscribe(Sid), State),
            State#state{subscriptions = maps:remove(Sid, Subscriptions)};
        [] ->
            State#state{listeners = maps:remove(Ref, Listeners)}
    end.

subscribe_line(Sid, #subscription{pattern = Pattern, queue = Queue}) ->
    warder_nats_protocol:subscribe(Pattern, Sid, Queue).

%% A connection that is still being made sends it when it is up, also when it had the line among the first: what comes
%% twice changes nothing for the broker.
write(Bytes, #state{link = Link}) when is_pid(Link) -> gen_server:cast(Link, {write, Bytes});
write(_Bytes, _State) -> ok.

%% @private
terminate(_Reason, #state{name = Name, tables = Tables, link = Link}) ->
    _ = is_pid(Link) andalso exit(Link, shutdown),
    ok = warder_nats:closed(Tables),
    warder_nats:drop_tables(Name).

now_ms() ->
    erlang:monotonic_time(millisecond).
