%%% Follows the changes that the broker tells of, keeps the near cache fresh by them, and tells whoever listens. One for
%%% each subject prefix of a node. Everything but listening is for any process and waits for none; a fault in here costs a
%%% question and not a stanza.
%%%
%%%   {ok, _} = warder_changes:start_link(my_changes, #{client => my_nats, server => Node, normalise => Normalise}),
%%%   case warder_changes:recall(my_changes, stanza_check, Request) of
%%%       {ok, #{verdict := Verdict}} -> ...;
%%%       miss ->
%%%           Ticket = warder_changes:ask(my_changes, stanza_check, Request),
%%%           {ok, Reply} = warder_ask:ask(...),
%%%           _ = warder_changes:answered(my_changes, Ticket, Reply)
%%%   end.
-module(warder_changes).
-behaviour(gen_server).

-export([start_link/2, child_spec/2, forget/1, listen/1, unlisten/2, clear/1]).
-export([recall/3, recall/2, ask/3, answered/3, min_seq/1, seen/1, is_counted/1, stats/1, counts/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([options/0, ticket/0]).

-include_lib("kernel/include/logger.hrl").

%% `client': a name of warder_nats. `server': who this node is, for people. `normalise': prepares the JIDs in changes.
%% `floor': what has been seen by the same broker's numbers before.
-type options() :: #{
    client := atom(),
    server := binary(),
    normalise := warder_invalidation:normalise(),
    prefix => binary(),
    bound_ms => pos_integer(),
    max_entries => pos_integer(),
    max_stamps => pos_integer(),
    floor => non_neg_integer()
}.
-type ticket() :: warder_near_cache:ticket() | none.

-define(COUNTS, [{1, hits}, {2, misses}, {3, unproved}, {4, evictions}, {5, gaps}, {6, clears}]).

-record(state, {
    name :: atom(),
    cache :: warder_near_cache:cache(),
    floor :: atomics:atomics_ref(),
    normalise :: warder_invalidation:normalise(),
    stream :: binary(),
    announcer :: pid(),
    client :: reference(),
    numbered :: reference(),
    heard :: reference(),
    has_jetstream = true :: boolean(),
    listeners = #{} :: #{reference() => pid()},
    %% What claimed a number and was not from the stream.
    foreign :: counters:counters_ref()
}).

-spec start_link(Name :: atom(), options()) -> {ok, pid()} | {error, term()}.
start_link(Name, Options) ->
    gen_server:start_link({local, Name}, ?MODULE, {Name, Options}, []).

-spec child_spec(Name :: atom(), options()) -> supervisor:child_spec().
child_spec(Name, Options) ->
    #{id => Name, start => {?MODULE, start_link, [Name, Options]}}.

%% @doc It was stopped and will not be started again: nothing is kept of what it has seen.
-spec forget(Name :: atom()) -> ok.
forget(Name) ->
    _ = persistent_term:erase({?MODULE, floor, Name}),
    ok.

%% @doc The caller is sent `{warder_change, Ref, Change, Sequence}' for each change once it is applied. `all' stands for
%% whatever may have been missed, too. The sequence is `none' where the broker has no JetStream.
-spec listen(Name :: atom()) -> {ok, reference()}.
listen(Name) ->
    gen_server:call(Name, {listen, self()}, infinity).

-spec unlisten(Name :: atom(), reference()) -> ok.
unlisten(Name, Ref) ->
    gen_server:call(Name, {unlisten, Ref}, infinity).

%% @doc Forgets everything.
-spec clear(Name :: atom()) -> ok.
clear(Name) ->
    gen_server:call(Name, clear, infinity).

%% @doc What may be served from memory; see {@link warder_near_cache:get/3}.
-spec recall(Name :: atom(), warder_operations:operation(), warder_ask:request()) ->
    {ok, warder_near_cache:verdict()} | miss.
recall(Name, Operation, Request) ->
    recall(Name, warder_near_cache:place(Operation, Request)).

%% @doc The same of what {@link warder_near_cache:place/2} was told of before.
-spec recall(Name :: atom(), warder_near_cache:place()) -> {ok, warder_near_cache:verdict()} | miss.
recall(Name, Place) ->
    with_cache(Name, miss, fun(Cache) -> warder_near_cache:get(Place, Cache) end).

%% @doc Just before a question is sent.
-spec ask(Name :: atom(), warder_operations:operation(), warder_ask:request()) -> ticket().
ask(Name, Operation, Request) ->
    with_cache(Name, none, fun(Cache) -> warder_near_cache:ask(Operation, Request, Cache) end).

%% @doc When its reply has come. Whether it is remembered.
-spec answered(Name :: atom(), ticket(), warder_replies:reply()) -> boolean().
answered(_Name, none, _Reply) ->
    false;
answered(Name, Ticket, Reply) ->
    with_cache(Name, false, fun(Cache) -> warder_near_cache:answered(Ticket, Reply, Cache) end).

%% @doc What an answer must know. Never goes down, also when the process is started again.
-spec min_seq(Name :: atom()) -> non_neg_integer().
min_seq(Name) ->
    max(floor_of(Name), with_cache(Name, 0, fun warder_near_cache:min_seq/1)).

-spec seen(Name :: atom()) -> non_neg_integer().
seen(Name) ->
    max(floor_of(Name), with_cache(Name, 0, fun warder_near_cache:seen/1)).

%% @doc Whether the broker numbers no changes.
-spec is_counted(Name :: atom()) -> boolean().
is_counted(Name) ->
    with_cache(Name, false, fun(Cache) -> warder_near_cache:mode(Cache) =:= counted end).

%% @doc As {@link warder_near_cache:stats/1}, and `foreign': what claimed a number and was not from the stream.
-spec stats(Name :: atom()) -> #{atom() => integer()}.
stats(Name) ->
    with_cache(Name, #{}, fun(Cache) ->
        #{foreign := Foreign} = persistent_term:get({?MODULE, Name}),
        (warder_near_cache:stats(Cache))#{foreign => counters:get(Foreign, 1)}
    end).

%% @doc What the near caches of these, and of all that were there before, have counted on this node; it only grows.
-spec counts([Name :: atom()]) -> #{binary() => non_neg_integer()}.
counts(Names) ->
    Caches = [Cache || Name <- Names, #{cache := Cache} <- [persistent_term:get({?MODULE, Name}, none)]],
    Counts = [warder_near_cache:counts(Cache) || Cache <- Caches],
    Ended = ended(),
    maps:from_list([
        {atom_to_binary(Count), counters:get(Ended, At) + lists:sum([maps:get(Count, One) || One <- Counts])}
     || {At, Count} <- ?COUNTS
    ]).

%% Of caches that are no more.
ended() ->
    keep(?MODULE, fun() -> counters:new(length(?COUNTS), []) end).

%% Also of a process that was killed.
retire(Name) ->
    case persistent_term:get({?MODULE, Name}, none) of
        none ->
            ok;
        #{cache := Cache} ->
            _ = persistent_term:erase({?MODULE, Name}),
            Counts = warder_near_cache:counts(Cache),
            lists:foreach(fun({At, Count}) -> counters:add(ended(), At, maps:get(Count, Counts)) end, ?COUNTS)
    end.

%% The tables end with their process; who reads them at that moment has found nothing.
with_cache(Name, Default, Use) ->
    case persistent_term:get({?MODULE, Name}, none) of
        none ->
            Default;
        #{cache := Cache} ->
            try
                Use(Cache)
            catch
                error:badarg:Stack ->
                    _ = is_pid(whereis(Name)) andalso ?LOG_ERROR("The near cache failed, so workers are asked: ~0p", [Stack]),
                    Default
            end
    end.

%% Outlives the process: who has seen a change is not answered from before it because of that.
floor_of(Name) ->
    case persistent_term:get({?MODULE, floor, Name}, none) of
        none -> 0;
        Floor -> atomics:get(Floor, 1)
    end.

%% @private
init({Name, #{client := Client, server := Server, normalise := Normalise} = Options}) ->
    process_flag(trap_exit, true),
    Self = self(),
    Prefix = maps:get(prefix, Options, <<"xmpp.policy.v1">>),
    Limits = maps:with([bound_ms, max_entries, max_stamps], Options),
    Cache = warder_near_cache:new(Limits#{on_uncounted => fun() -> gen_server:cast(Self, count_alone) end}),
    Foreign = counters:new(1, []),
    Floor = keep_floor(Name, maps:get(floor, Options, 0)),
    ok = retire(Name),
    ok = persistent_term:put({?MODULE, Name}, #{cache => Cache, foreign => Foreign}),
    {ok, Announcer} = warder_announcer:start_link(#{
        id => Name, client => Client, prefix => Prefix, name => Server, seen => fun() -> seen(Name) end
    }),
    {ok, Numbered} = warder_nats:subscribe(Client, <<Prefix/binary, ".invalidated">>),
    {ok, Heard} = warder_nats:subscribe(Client, <<Prefix/binary, ".invalidate">>),
    %% Last: who is told of a connection has subscribed by it.
    {ok, Status} = warder_nats:listen(Client),
    {ok, #state{
        name = Name,
        cache = Cache,
        floor = Floor,
        normalise = Normalise,
        stream = warder_invalidation:stream_name(Prefix),
        announcer = Announcer,
        client = Status,
        numbered = Numbered,
        heard = Heard,
        foreign = Foreign
    }}.

keep_floor(Name, Seen) ->
    keep({?MODULE, floor, Name}, fun() ->
        Floor = atomics:new(1, []),
        ok = atomics:put(Floor, 1, Seen),
        Floor
    end).

%% Outlives the process.
keep(Key, New) ->
    case persistent_term:get(Key, none) of
        none ->
            Kept = New(),
            ok = persistent_term:put(Key, Kept),
            Kept;
        Kept ->
            Kept
    end.

%% @private
handle_call({listen, Pid}, _From, #state{listeners = Listeners} = State) ->
    Ref = monitor(process, Pid),
    {reply, {ok, Ref}, State#state{listeners = Listeners#{Ref => Pid}}};
handle_call({unlisten, Ref}, _From, #state{listeners = Listeners} = State) ->
    demonitor(Ref, [flush]),
    {reply, ok, State#state{listeners = maps:remove(Ref, Listeners)}};
handle_call(clear, _From, #state{cache = Cache} = State) ->
    ok = warder_near_cache:clear(Cache),
    {reply, ok, State}.

%% @private
handle_cast(count_alone, #state{cache = Cache} = State) ->
    ok = warder_near_cache:count_alone(Cache),
    {noreply, State}.

%% @private
handle_info({warder_nats, Ref, {message, Message}}, #state{numbered = Ref} = State) ->
    {noreply, numbered(Message, State)};
handle_info({warder_nats, Ref, {message, Message}}, #state{heard = Ref, cache = Cache} = State) ->
    Change = decode(Message, State),
    ok = warder_near_cache:heard(Change, Cache),
    %% Where changes are numbered it will come again, and with its number.
    _ = Change =/= tick andalso not State#state.has_jetstream andalso tell(Change, none, State),
    {noreply, State};
handle_info({warder_nats, Ref, {connected, Info}}, #state{client = Ref, cache = Cache} = State) ->
    HasJetStream = maps:get(<<"jetstream">>, Info, false) =:= true,
    ok = warder_near_cache:connected(HasJetStream, Cache),
    %% Else the first number tells them.
    _ = HasJetStream orelse tell(all, none, State),
    {noreply, State#state{has_jetstream = HasJetStream}};
handle_info({'DOWN', Ref, process, _, _}, #state{listeners = Listeners} = State) ->
    {noreply, State#state{listeners = maps:remove(Ref, Listeners)}};
handle_info({'EXIT', Announcer, Reason}, #state{announcer = Announcer} = State) ->
    {stop, Reason, State};
handle_info(_Other, State) ->
    {noreply, State}.

numbered(Message, #state{cache = Cache, floor = Floor, announcer = Announcer, stream = Stream, foreign = Foreign} = State) ->
    case warder_invalidation:sequence_of(Message, Stream) of
        none ->
            counters:add(Foreign, 1, 1),
            State;
        Sequence ->
            Applied = warder_near_cache:numbered(Sequence, decode(Message, State), Cache),
            ok = atomics:put(Floor, 1, max(atomics:get(Floor, 1), Sequence)),
            %% Whoever waits for a change waits for those that were missed too.
            _ = Applied =/= tick andalso warder_announcer:changed(Announcer),
            _ = Applied =/= tick andalso tell(Applied, Sequence, State),
            State
    end.

decode(#{oversize := true}, _State) -> all;
decode(#{payload := Payload}, #state{normalise = Normalise}) -> warder_invalidation:decode(Payload, Normalise).

tell(Change, Sequence, #state{listeners = Listeners}) ->
    maps:foreach(fun(Ref, Pid) -> Pid ! {warder_change, Ref, Change, Sequence} end, Listeners).

%% @private
terminate(_Reason, #state{name = Name}) ->
    retire(Name).
