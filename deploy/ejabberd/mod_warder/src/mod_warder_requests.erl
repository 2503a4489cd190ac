%%% Requests for a subscription that the workers are being asked about. They wait outside of their sender's stream: one
%%% from another server would hold up all of that server's users. One process for each host, which waits for nobody.
-module(mod_warder_requests).
-behaviour(gen_server).

-export([start/1, stop/1]).
-export([ask/2, withdraw/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-include("xmpp.hrl").

-define(OPERATION, roster_subscription).
%% Whoever sends more is told to try again later.
-define(MAX_ASKING, 256).

-type pair() :: {User :: {binary(), binary()}, Contact :: binary()}.

-record(request, {
    stanza :: presence(),
    event :: mod_warder_relations:event(),
    %% What its process does: ask, or act on the answer.
    phase = asking :: asking | settling,
    is_withdrawn = false :: boolean()
}).
-record(state, {
    %% Those that are not withdrawn.
    open = #{} :: #{pair() => reference()},
    %% By the monitor of the process.
    requests = #{} :: #{reference() => #request{}}
}).

-spec start(Host :: binary()) -> ok.
start(Host) ->
    mod_warder_child:start(?MODULE, Host).

-spec stop(Host :: binary()) -> ok.
stop(Host) ->
    mod_warder_child:stop(?MODULE, Host).

%% @doc The request comes by again, marked as answered, if it may go on.
-spec ask(presence(), mod_warder_relations:event()) -> ok.
ask(Request, #{user := {_, LServer}} = Event) ->
    gen_server:cast(process(LServer), {ask, Request, Event}).

%% @doc The contact has taken it back: whatever the answer, the request is not heard of again.
-spec withdraw(User :: {LUser :: binary(), LServer :: binary()}, Contact :: binary()) -> ok.
withdraw({_, LServer} = User, Contact) ->
    %% It is asked about where its sender was at that time.
    abcast = gen_server:abcast(ejabberd_cluster:get_nodes(), process(LServer), {withdraw, {User, Contact}}),
    ok.

process(LServer) -> mod_warder_child:process(?MODULE, LServer).

%% @private
init(_Host) ->
    {ok, #state{}}.

%% @private
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

%% @private
handle_cast({ask, Stanza, #{user := User, contact := Contact} = Event}, #state{open = Open, requests = Requests} = State) ->
    Request = #request{stanza = Stanza, event = Event},
    case Open of
        #{{User, Contact} := _} ->
            {noreply, State};
        _ when map_size(Requests) >= ?MAX_ASKING ->
            _ = spawn(fun() -> too_many(Request) end),
            {noreply, State};
        _ ->
            {noreply, run(fun() -> exit({decided, decide(Event)}) end, Request, State)}
    end;
handle_cast({withdraw, Pair}, #state{open = Open, requests = Requests} = State) ->
    case maps:take(Pair, Open) of
        {Ref, Others} ->
            #{Ref := Request} = Requests,
            {noreply, State#state{open = Others, requests = Requests#{Ref := Request#request{is_withdrawn = true}}}};
        error ->
            {noreply, State}
    end.

run(Do, #request{event = #{user := User, contact := Contact}} = Request, #state{open = Open, requests = Requests} = State) ->
    {_, Ref} = spawn_monitor(Do),
    State#state{open = Open#{{User, Contact} => Ref}, requests = Requests#{Ref => Request}}.

%% @private
handle_info({'DOWN', Ref, process, _, Reason}, #state{requests = Requests} = State) ->
    {Request, Others} = maps:take(Ref, Requests),
    {noreply, ended(outcome(Reason), Request, State#state{requests = Others})};
handle_info(_Other, State) ->
    {noreply, State}.

ended(Outcome, #request{phase = asking, is_withdrawn = false} = Request, State) ->
    run(fun() -> settle(Outcome, Request) end, Request#request{phase = settling}, State);
ended(_Outcome, #request{phase = asking, is_withdrawn = true}, State) ->
    State;
ended(_Outcome, #request{phase = settling, event = Event, is_withdrawn = true}, State) ->
    %% It came between: whatever was made of the request, the contact wants it no more.
    _ = spawn(fun() -> mod_warder_contacts:change(Event#{action => unsubscribe}, 0) end),
    State;
ended(_Outcome, #request{event = #{user := User, contact := Contact}}, #state{open = Open} = State) ->
    State#state{open = maps:remove({User, Contact}, Open)}.

outcome({decided, Outcome}) -> Outcome;
outcome(_Crash) -> {#{verdict => defer, failure => crashed}, unknown}.

%% In a process of its own, as what follows. What is nothing new is no question: who has been let in, or whose request is
%% before the user already. Servers repeat their users' open requests at each login.
decide(#{user := {LUser, LServer}, contact := Contact} = Event) ->
    Known = mod_warder_roster_nodes:current_contact(LUser, LServer, Contact),
    case is_settled(Known) orelse mod_warder_open_requests:is_open({LUser, LServer}, Contact) of
        true -> {#{verdict => allow}, Known};
        false -> {ask_workers(LServer, Event), Known}
    end.

too_many(#request{event = #{user := {_, LServer}}} = Request) ->
    case mod_warder_hosts:find(LServer) of
        {ok, Context} -> ok = mod_warder_decide:failed(Context, ?OPERATION, overloaded, defer);
        none -> ok
    end,
    settle({#{verdict => defer, failure => overloaded}, unknown}, Request).

is_settled(unknown) -> false;
is_settled({Item, Requests}) -> Requests orelse mod_warder_roster_items:may_see(Item).

ask_workers(LServer, #{contact := Contact} = Event) ->
    {ok, Context} = mod_warder_hosts:find(LServer),
    mod_warder_relations:ask(Context, mod_warder_subscriptions:side(jid:decode(Contact)), Event).

settle({#{verdict := Word} = Verdict, Known}, #request{stanza = Stanza, event = #{user := {LUser, LServer}} = Event}) ->
    Addressed = Stanza#presence{to = jid:make(LUser, LServer)},
    case Word of
        allow ->
            route(mod_warder_subscriptions:answered(maps:get(seq, Verdict, 0), Known, Addressed));
        _ ->
            ok = mod_warder_subscriptions:report(Event, Verdict),
            refuse(Word, Verdict, Addressed)
    end.

refuse(drop, _Verdict, _Request) -> ok;
refuse(defer, Verdict, Request) -> defer(Request, Verdict);
refuse(_, _Verdict, #presence{from = Contact, to = User}) ->
    route(#presence{type = unsubscribed, from = User, to = jid:remove_resource(Contact)}).

defer(Request, Verdict) ->
    route(xmpp:make_error(Request, mod_warder_verdict:error_of(?OPERATION, Verdict))).

route(Stanza) ->
    ejabberd_router:route(mod_warder_exempt:own(Stanza)).
