%%% A NATS client: requests, publications and subscriptions over one connection that comes back by itself.
%%% Knows NATS and nothing of Warder's questions.
%%%
%%%   {ok, _} = warder_nats:start_link(my_nats, #{servers => <<"nats://user:pass@host:4222, tls://token@other">>}),
%%%   {ok, #{payload := Answer}} = warder_nats:request(my_nats, <<"subject">>, <<"question">>, Deadline).
%%%
%%% Any number of processes ask at once. Who asks encodes his message himself and puts his name into a table; then one
%%% process writes what many have asked (warder_nats_writer), and one reads and answers each by the table
%%% (warder_nats_link). Nobody waits for anything but his answer, and for that no longer than until his deadline, whatever
%%% the broker does: his process touches neither the socket nor another process that could be waiting for it.
-module(warder_nats).

-export([start_link/2, child_spec/2]).
-export([request/4, request/5, await/2, abandon/1, publish/3, publish/4, subscribe/2, subscribe/3, unsubscribe/2, listen/1, unlisten/2]).
-export([is_connected/1, info/1, max_payload/1, stats/1]).
%% For the processes of this client.
-export([new_tables/2, drop_tables/1, opened/2, closed/1, current/1, route/4, unroute/2]).
-export([deliver/2, deliver_reply/3, inbox_sid/0]).
-export_type([options/0, message/0, failure/0, pending/0, tables/0, link/0]).

%% Milliseconds and bytes. `tls': TLS is required of every server; without it, of those of the scheme tls://. `inbox':
%% replies arrive under `_INBOX.<inbox>.<random>'. `ping_max': unanswered pings after which the connection counts as dead.
%% `max_unsent': bytes waiting for a broker that does not read. `max_reply': a larger message is skipped, not kept.
-type options() :: #{
    servers => binary() | string() | [binary() | string()],
    name => binary() | string(),
    inbox => binary() | string(),
    user => binary() | string(),
    password => binary() | string(),
    token => binary() | string(),
    tls => warder_nats_tls:options(),
    ping_interval => pos_integer(),
    ping_max => pos_integer(),
    connect_timeout => pos_integer(),
    send_timeout => pos_integer(),
    reconnect_min => pos_integer(),
    reconnect_max => pos_integer(),
    max_unsent => pos_integer(),
    max_reply => pos_integer()
}.
-type message() :: warder_nats_protocol:message().
-type failure() :: no_responders | timeout | disconnected | too_large.
%% A request that is not answered yet: who made it has to wait for it or to abandon it.
-opaque pending() :: {ets:tid(), Token :: binary(), Alias :: reference()}.
%% What is the same for all connections of a client.
-type tables() :: #{
    pending := ets:tid(), links := ets:tid(), routes := ets:tid(), max_unsent := pos_integer(), counters := counters:counters_ref()
}.
%% The connection that is up.
-type link() :: #{
    pid := pid(),
    writer := pid(),
    queue := warder_nats_writer:queue(),
    inbox := binary(),
    info := warder_nats_login:info(),
    max_payload := pos_integer() | infinity
}.

-define(CONNECTS, 1).
-define(MESSAGES_IN, 2).
-define(MESSAGES_OUT, 3).
-define(LATE, 4).

%% @doc Starts connecting and returns at once. The options may stand in a function, so that a supervisor's reports do not
%% show the passwords in them. Options that make no sense are `{error, {bad_option, Text}}'.
-spec start_link(Name :: atom(), options() | fun(() -> options())) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    warder_nats_client:start_link(Name, Options).

-spec child_spec(Name :: atom(), options() | fun(() -> options())) -> supervisor:child_spec().
child_spec(Name, Options) ->
    #{id => Name, start => {?MODULE, start_link, [Name, Options]}, modules => [warder_nats_client]}.

%% @doc Asks and waits for the first answer, at the longest until the deadline in monotonic milliseconds. What has not
%% been written by then is never sent. `disconnected' comes at once, also when the connection goes while it is waited for.
-spec request(Name :: atom(), Subject :: binary(), Payload :: binary(), Deadline :: integer()) ->
    {ok, message()} | {error, failure()}.
request(Name, Subject, Payload, Deadline) ->
    case request(Name, Subject, Payload, Deadline, Deadline) of
        {pending, Pending} ->
            ok = abandon(Pending),
            {error, timeout};
        Answer ->
            Answer
    end.

%% @doc Asks and waits until `Until', which is not after the deadline: who is not answered by then may do something else
%% before he waits on.
-spec request(Name :: atom(), Subject :: binary(), Payload :: binary(), Deadline :: integer(), Until :: integer()) ->
    {ok, message()} | {error, failure()} | {pending, pending()}.
request(Name, Subject, Payload, Deadline, Until) ->
    case {tables(Name), warder_nats_protocol:is_subject(Subject)} of
        {none, _} -> {error, disconnected};
        {_, false} -> error({no_subject, Subject});
        {Tables, true} -> request_by(Tables, current(Tables), Subject, Payload, Deadline, Until)
    end.

request_by(_Tables, none, _Subject, _Payload, _Deadline, _Until) ->
    {error, disconnected};
request_by(_Tables, #{max_payload := Most}, _Subject, Payload, _Deadline, _Until) when byte_size(Payload) > Most ->
    {error, too_large};
request_by(#{pending := Pending, max_unsent := Max} = Tables, Link, Subject, Payload, Deadline, Until) ->
    #{pid := Pid, writer := Writer, queue := Queue, inbox := Inbox} = Link,
    Token = integer_to_binary(erlang:unique_integer([positive]), 36),
    Bytes = iolist_to_binary(warder_nats_protocol:publish(Subject, [Inbox, Token], Payload)),
    %% A message to it that comes when nobody waits any more disappears.
    Alias = erlang:alias([reply]),
    %% In this order: when the connection goes, first the queue is closed and then who is in the table is told.
    case insert(Pending, {Token, Alias, Pid}) andalso warder_nats_writer:reserve(Queue, byte_size(Bytes), Max) of
        true ->
            count(Tables, ?MESSAGES_OUT),
            ok = warder_nats_writer:write(Writer, Bytes, byte_size(Bytes), Deadline),
            receive
                {Alias, Answer} -> Answer
            after wait_ms(Until) ->
                {pending, {Pending, Token, Alias}}
            end;
        false ->
            ok = abandon({Pending, Token, Alias}),
            {error, disconnected}
    end.

%% @doc Waits on for one request, or for either of two, at the longest until a moment in monotonic milliseconds. What is not
%% answered then is still to be waited for or abandoned.
-spec await([pending(), ...], Until :: integer()) -> {pending(), {ok, message()} | {error, failure()}} | timeout.
await([{_, _, Alias} = Pending], Until) ->
    receive
        {Alias, Answer} -> {Pending, Answer}
    after wait_ms(Until) ->
        timeout
    end;
await([{_, _, One} = First, {_, _, Other} = Second], Until) ->
    receive
        {One, Answer} -> {First, Answer};
        {Other, Answer} -> {Second, Answer}
    after wait_ms(Until) ->
        timeout
    end.

%% @doc Whatever answer comes, or has come, is nobody's.
-spec abandon(pending()) -> ok.
abandon({Pending, Token, Alias}) ->
    _ = erlang:unalias(Alias),
    _ = delete(Pending, Token),
    receive
        {Alias, _} -> ok
    after 0 -> ok
    end.

wait_ms(Until) ->
    max(0, Until - erlang:monotonic_time(millisecond)).

%% @doc Publishes and does not wait until it is sent.
-spec publish(Name :: atom(), Subject :: binary(), Payload :: binary()) -> ok | {error, disconnected | too_large}.
publish(Name, Subject, Payload) ->
    case publish(Name, Subject, [], Payload) of
        {error, bad_header} -> error(badarg);
        Result -> Result
    end.

-spec publish(Name :: atom(), binary(), warder_nats_protocol:headers(), binary()) ->
    ok | {error, disconnected | too_large | bad_header}.
publish(Name, Subject, Headers, Payload) ->
    warder_nats_protocol:is_subject(Subject) orelse error({no_subject, Subject}),
    case form(Subject, Headers, Payload) of
        {ok, Bytes, Size} -> publish_bytes(tables(Name), iolist_to_binary(Bytes), Size);
        {error, bad_header} -> {error, bad_header}
    end.

form(Subject, [], Payload) ->
    {ok, warder_nats_protocol:publish(Subject, [], Payload), byte_size(Payload)};
form(Subject, Headers, Payload) ->
    warder_nats_protocol:publish(Subject, [], Headers, Payload).

publish_bytes(none, _Bytes, _Size) ->
    {error, disconnected};
publish_bytes(#{max_unsent := Max} = Tables, Bytes, Size) ->
    case current(Tables) of
        none ->
            {error, disconnected};
        #{max_payload := Most} when Size > Most ->
            {error, too_large};
        #{writer := Writer, queue := Queue} ->
            case warder_nats_writer:reserve(Queue, byte_size(Bytes), Max) of
                true ->
                    count(Tables, ?MESSAGES_OUT),
                    warder_nats_writer:write(Writer, Bytes, byte_size(Bytes), infinity);
                false ->
                    {error, disconnected}
            end
    end.

%% @doc What comes on these subjects is sent to the caller as `{warder_nats, Ref, {message, message()}}', over all
%% reconnects, until it unsubscribes or ends. Nothing bounds its mailbox: for subjects of which it can bear everything.
-spec subscribe(Name :: atom(), Pattern :: binary()) -> {ok, reference()}.
subscribe(Name, Pattern) ->
    subscribe(Name, Pattern, undefined).

-spec subscribe(Name :: atom(), Pattern :: binary(), Queue :: binary() | undefined) -> {ok, reference()}.
subscribe(Name, Pattern, Queue) ->
    warder_nats_protocol:is_pattern(Pattern) orelse error({no_subject, Pattern}),
    gen_server:call(Name, {subscribe, Pattern, Queue, self()}, infinity).

-spec unsubscribe(Name :: atom(), reference()) -> ok.
unsubscribe(Name, Ref) ->
    gen_server:call(Name, {unsubscribe, Ref}, infinity).

%% @doc The caller is sent `{warder_nats, Ref, {connected, Info}}', now if the connection is up and each time it is made,
%% before anything that comes by it; `{warder_nats, Ref, {disconnected, Text}}'; and `{warder_nats, Ref, {refused, Text}}'
%% when the broker does not permit the connection one subject.
-spec listen(Name :: atom()) -> {ok, reference()}.
listen(Name) ->
    gen_server:call(Name, {listen, self()}, infinity).

-spec unlisten(Name :: atom(), reference()) -> ok.
unlisten(Name, Ref) ->
    unsubscribe(Name, Ref).

-spec is_connected(Name :: atom()) -> boolean().
is_connected(Name) ->
    info(Name) =/= undefined.

%% @doc What the broker said when this connection was made.
-spec info(Name :: atom()) -> warder_nats_login:info() | undefined.
info(Name) ->
    of_link(Name, info, undefined).

%% @doc The largest payload that the broker takes.
-spec max_payload(Name :: atom()) -> pos_integer() | infinity.
max_payload(Name) ->
    of_link(Name, max_payload, infinity).

of_link(Name, Key, Default) ->
    case tables(Name) of
        none ->
            Default;
        Tables ->
            case current(Tables) of
                none -> Default;
                Link -> maps:get(Key, Link)
            end
    end.

%% @doc `late': replies that nobody waited for any more. Counted from when the client was started.
-spec stats(Name :: atom()) -> #{atom() => non_neg_integer()}.
stats(Name) ->
    case tables(Name) of
        none ->
            #{};
        #{pending := Pending, counters := Counters} = Tables ->
            Unsent =
                case current(Tables) of
                    none -> 0;
                    #{queue := Queue} -> warder_nats_writer:unsent(Queue)
                end,
            #{
                connects => counters:get(Counters, ?CONNECTS),
                messages_in => counters:get(Counters, ?MESSAGES_IN),
                messages_out => counters:get(Counters, ?MESSAGES_OUT),
                late => counters:get(Counters, ?LATE),
                pending => max(0, size_of(Pending)),
                unsent => Unsent
            }
    end.

%% The tables. Their handles never change while the client lives, so reading them costs nothing; the connection that is up
%% is a row in one of them, since replacing a persistent term would make every process of the node look for it.

%% @private
-spec new_tables(atom(), #{max_unsent := pos_integer(), atom() => term()}) -> tables().
new_tables(Name, #{max_unsent := MaxUnsent}) ->
    Tables = #{
        pending => ets:new(warder_nats_pending, [public, {write_concurrency, true}]),
        links => ets:new(warder_nats_links, [public, {read_concurrency, true}]),
        routes => ets:new(warder_nats_routes, [protected, {read_concurrency, true}]),
        max_unsent => MaxUnsent,
        counters => counters:new(4, [write_concurrency])
    },
    ok = persistent_term:put({?MODULE, Name}, Tables),
    Tables.

%% @private
drop_tables(Name) ->
    _ = persistent_term:erase({?MODULE, Name}),
    ok.

tables(Name) ->
    persistent_term:get({?MODULE, Name}, none).

%% @private
-spec current(tables()) -> link() | none.
current(#{links := Links}) ->
    try ets:lookup(Links, link) of
        [{link, Link}] -> Link;
        [] -> none
    catch
        %% The client has just ended.
        error:badarg -> none
    end.

%% @private
opened(#{links := Links} = Tables, Link) ->
    count(Tables, ?CONNECTS),
    true = ets:insert(Links, {link, Link}),
    ok.

%% @private Ends the connection for whoever asks and whoever has asked.
closed(#{links := Links, pending := Pending} = Tables) ->
    case current(Tables) of
        none ->
            ok;
        #{queue := Queue, pid := Pid} ->
            true = ets:delete(Links, link),
            ok = warder_nats_writer:close(Queue),
            Waiting = ets:select(Pending, [{{'$1', '$2', Pid}, [], [{{'$1', '$2'}}]}]),
            lists:foreach(fun({Token, Alias}) -> answer(Pending, Token, Alias, {error, disconnected}) end, Waiting)
    end.

answer(Pending, Token, Alias, Answer) ->
    true = ets:delete(Pending, Token),
    Alias ! {Alias, Answer},
    ok.

%% @private
route(#{routes := Routes}, Sid, Pid, Ref) ->
    true = ets:insert(Routes, {Sid, Pid, Ref}),
    ok.

%% @private
unroute(#{routes := Routes}, Sid) ->
    true = ets:delete(Routes, Sid),
    ok.

%% @private The subscription to the replies.
inbox_sid() -> <<"1">>.

%% @private
deliver(#{routes := Routes} = Tables, #{sid := Sid} = Message) ->
    count(Tables, ?MESSAGES_IN),
    case ets:lookup(Routes, Sid) of
        [{Sid, Pid, Ref}] ->
            Pid ! {?MODULE, Ref, {message, Message}},
            ok;
        [] ->
            ok
    end.

%% @private
deliver_reply(#{pending := Pending} = Tables, InboxSize, #{subject := Subject} = Message) ->
    count(Tables, ?MESSAGES_IN),
    Token = binary:part(Subject, InboxSize, byte_size(Subject) - InboxSize),
    case ets:take(Pending, Token) of
        [{Token, Alias, _Pid}] ->
            Alias ! {Alias, reply(Message)},
            ok;
        [] ->
            count(Tables, ?LATE)
    end.

reply(#{status := 503, payload := <<>>}) -> {error, no_responders};
reply(Message) -> {ok, Message}.

insert(Table, Row) ->
    try
        ets:insert(Table, Row)
    catch
        error:badarg -> false
    end.

delete(Table, Key) ->
    try
        ets:delete(Table, Key)
    catch
        error:badarg -> false
    end.

size_of(Table) ->
    case ets:info(Table, size) of
        undefined -> 0;
        Size -> Size
    end.

count(#{counters := Counters}, Which) ->
    counters:add(Counters, Which, 1).
