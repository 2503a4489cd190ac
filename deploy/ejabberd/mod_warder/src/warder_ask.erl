%%% Asks one question: fills in the envelope, sends, waits for as long as the budget lasts, and lets only a reply through
%%% that is one. Runs in the process of whoever asks; knows the wire protocol, and neither stanzas nor fallbacks.
%%%
%%%   Asker = warder_ask:new(#{client => my_nats, server => <<"xmpp1.example.org">>}),
%%%   {ok, #{verdict := Verdict}} | {error, Failure} = warder_ask:ask(Asker, join_check, Request, #{budget_ms => 1000}).
-module(warder_ask).

-export([new/1, ask/4, stats/1, failure_word/1]).
-export_type([asker/0, request/0, options/0, failure/0]).

-include_lib("kernel/include/logger.hrl").

%% `client': a name of warder_nats. `server': who asks, for the workers' logs. `min_seq': which change the answer must know.
-type asker() :: #{
    client := atom(),
    server := binary(),
    prefix := binary(),
    max_stanza_bytes := non_neg_integer(),
    encoding := warder_codec:encoding(),
    min_seq := fun(() -> non_neg_integer()),
    hedges := warder_hedges:hedges()
}.
%% The operation's own fields as on the wire. `stanza' may be a function, which is called only if the stanza is sent.
-type request() :: #{binary() => warder_messagepack:value() | fun(() -> iodata())}.
%% `stanza_on_demand': send the stanza only when a worker asks for it. `verify': whether the reply makes sense to the asker
%% too; else it is a bad one. `id': of an event that is told again after a failure, so that it stays one event.
-type options() :: #{
    budget_ms := pos_integer(),
    stanza_on_demand => boolean(),
    verify => fun((warder_replies:reply()) -> boolean()),
    id => binary()
}.
-type failure() :: warder_nats:failure() | warder_replies:failure().

%% How long a queue group may be empty while its last worker is being replaced.
-define(NO_RESPONDERS_PAUSE_MS, 50).
-define(DEFAULT_MAX_STANZA_BYTES, 65536).

-record(question, {
    asker :: asker(),
    operation :: warder_operations:operation(),
    request :: request(),
    options :: options(),
    with_stanza :: boolean(),
    %% Monotonic milliseconds.
    deadline :: integer(),
    %% A second sending is the last.
    may_repeat :: boolean()
}).

%% What is not answered yet.
-record(sending, {
    pending :: warder_nats:pending() | none,
    id :: binary(),
    %% Monotonic microseconds.
    asked_at :: integer(),
    is_hedge :: boolean()
}).

-spec new(#{client := atom(), atom() => term()}) -> asker().
new(#{client := Client} = Options) ->
    #{
        client => Client,
        server => maps:get(server, Options, <<>>),
        prefix => maps:get(prefix, Options, <<"xmpp.policy.v1">>),
        max_stanza_bytes => maps:get(max_stanza_bytes, Options, ?DEFAULT_MAX_STANZA_BYTES),
        encoding => maps:get(encoding, Options, messagepack),
        min_seq => maps:get(min_seq, Options, fun() -> 0 end),
        hedges => warder_hedges:new()
    }.

%% @doc Never raises, and never takes longer than the budget.
-spec ask(asker(), warder_operations:operation(), request(), options()) ->
    {ok, warder_replies:reply()} | {error, failure()}.
ask(#{hedges := Hedges} = Asker, Operation, Request, #{budget_ms := BudgetMs} = Options) ->
    ok = warder_hedges:earn(Hedges),
    send(#question{
        asker = Asker,
        operation = Operation,
        request = Request,
        options = Options,
        with_stanza = maps:is_key(<<"stanza">>, Request) andalso not maps:get(stanza_on_demand, Options, false),
        deadline = now_us() div 1000 + BudgetMs,
        may_repeat = warder_operations:is_repeatable(Operation)
    }).

%% @doc `hedged': asked a second time because half of the budget had passed in silence; `rescued': and answered the second
%% time.
-spec stats(asker()) -> #{hedged := non_neg_integer(), rescued := non_neg_integer()}.
stats(#{hedges := Hedges}) ->
    warder_hedges:stats(Hedges).

%% @doc As in the protocol and in statistics.
-spec failure_word(failure()) -> binary().
failure_word(Failure) ->
    binary:replace(atom_to_binary(Failure), <<"_">>, <<"-">>, [global]).

send(#question{deadline = Deadline} = Question) ->
    Until = hedge_at(Question),
    case transmit(Question, Until, false) of
        {_Sending, {error, Failure}} ->
            {error, Failure};
        {Sending, {answer, Answer}} ->
            answered(Answer, Sending, Question);
        {#sending{pending = Pending}, pending} when Until =:= Deadline ->
            ok = warder_nats:abandon(Pending),
            {error, timeout};
        {Sending, pending} ->
            silent(Sending, Question)
    end.

%% Half of what is left, for what clients wait for and what may be asked twice.
hedge_at(#question{operation = Operation, may_repeat = MayRepeat, deadline = Deadline}) ->
    case MayRepeat andalso warder_operations:is_check(Operation) of
        true -> Deadline - max(0, Deadline - now_us() div 1000) div 2;
        false -> Deadline
    end.

transmit(#question{asker = #{client := Client, prefix := Prefix}} = Question, Until, IsHedge) ->
    #question{operation = Operation, deadline = Deadline} = Question,
    AskedAt = now_us(),
    Sending = #sending{pending = none, id = id(Question), asked_at = AskedAt, is_hedge = IsHedge},
    case payload(Question, Sending#sending.id, Deadline - AskedAt div 1000) of
        {error, Failure} ->
            {Sending, {error, Failure}};
        {ok, Payload} ->
            Subject = <<Prefix/binary, ".", (warder_operations:slug(Operation))/binary>>,
            case warder_nats:request(Client, Subject, Payload, Deadline, Until) of
                {pending, Pending} -> {Sending#sending{pending = Pending}, pending};
                Answer -> {Sending, {answer, Answer}}
            end
    end.

%% Nobody has answered for half of the budget: whoever was asked may have been stopped and not be missed by the broker yet.
silent(#sending{pending = Pending} = First, #question{asker = #{hedges := Hedges}, deadline = Deadline} = Question) ->
    case warder_hedges:spend(Hedges) of
        true ->
            hedge(First, Question);
        false ->
            case warder_nats:await([Pending], Deadline) of
                {Pending, Answer} ->
                    answered(Answer, First, Question);
                timeout ->
                    ok = warder_nats:abandon(Pending),
                    {error, timeout}
            end
    end.

%% With the stanza if there is one: there will be no third sending for who wants it.
hedge(First, #question{request = Request, deadline = Deadline} = Question) ->
    Last = Question#question{may_repeat = false, with_stanza = maps:is_key(<<"stanza">>, Request)},
    case transmit(Last, now_us() div 1000, true) of
        {_Second, {error, Failure}} -> race([First], Deadline, Failure, Last);
        {Second, {answer, Answer}} -> settle(Answer, Second, [First], none, Last);
        {Second, pending} -> race([First, Second], Deadline, none, Last)
    end.

%% The first reply counts; a failure waits for the other's answer, unless it is one that a sender can provoke.
race([], _Deadline, Failure, _Question) ->
    {error, Failure};
race(Sendings, Deadline, Failure, Question) ->
    case warder_nats:await([Pending || #sending{pending = Pending} <- Sendings], Deadline) of
        {Pending, Answer} ->
            {value, Sending, Others} = lists:keytake(Pending, #sending.pending, Sendings),
            settle(Answer, Sending, Others, Failure, Question);
        timeout ->
            abandon(Sendings),
            {error, earlier(Failure, timeout)}
    end.

settle(Answer, #sending{is_hedge = IsHedge} = Sending, Others, Failure, Question) ->
    #question{asker = #{hedges := Hedges}, deadline = Deadline} = Question,
    case answered(Answer, Sending, Question) of
        {ok, Reply} ->
            abandon(Others),
            IsHedge andalso warder_hedges:rescued(Hedges),
            {ok, Reply};
        {error, Final} when Final =:= bad_request; Final =:= too_large ->
            abandon(Others),
            {error, Final};
        {error, Another} ->
            race(Others, Deadline, earlier(Failure, Another), Question)
    end.

earlier(none, Failure) -> Failure;
earlier(Failure, _) -> Failure.

abandon(Sendings) ->
    lists:foreach(fun(#sending{pending = Pending}) -> ok = warder_nats:abandon(Pending) end, Sendings).

id(#question{options = #{id := Id}}) -> Id;
id(_) -> base64:encode(crypto:strong_rand_bytes(15)).

payload(_Question, _Id, LeftMs) when LeftMs < 1 ->
    {error, timeout};
payload(#question{asker = Asker, operation = Operation, request = Request, with_stanza = WithStanza}, Id, LeftMs) ->
    try
        {ok, warder_envelope:payload(Asker, Request, WithStanza, Id, LeftMs)}
    catch
        Class:Reason ->
            ?LOG_ERROR("Cannot ask ~s: ~0p", [warder_operations:slug(Operation), {Class, Reason}]),
            {error, bad_request}
    end.

answered({error, no_responders}, _Sending, #question{may_repeat = true, deadline = Deadline} = Question) ->
    case now_us() div 1000 + ?NO_RESPONDERS_PAUSE_MS < Deadline of
        true ->
            timer:sleep(?NO_RESPONDERS_PAUSE_MS),
            send(Question#question{may_repeat = false});
        false ->
            {error, no_responders}
    end;
answered({error, Failure}, _Sending, _Question) ->
    {error, Failure};
answered({ok, Message}, #sending{id = Id, asked_at = AskedAt}, Question) ->
    #question{operation = Operation, deadline = Deadline} = Question,
    AnsweredAt = now_us(),
    case AnsweredAt =< Deadline * 1000 andalso read(Message, Id, Question) of
        false ->
            {error, timeout};
        {ok, Reply} ->
            {ok, Reply#{asked_at => AskedAt, answered_at => AnsweredAt}};
        {error, stanza_required, Detail} ->
            with_stanza(Question, Detail);
        {error, Failure, Detail} ->
            failed(Operation, Failure, Detail)
    end.

%% Where the stanza is too large to send, the second asking says so.
with_stanza(#question{may_repeat = true, with_stanza = false, request = #{<<"stanza">> := _}} = Question, _Detail) ->
    send(Question#question{may_repeat = false, with_stanza = true});
with_stanza(#question{operation = Operation}, Detail) ->
    failed(Operation, stanza_required, Detail).

failed(Operation, Failure, Detail) ->
    Level =
        case Failure of
            bad_reply -> warning;
            _ -> debug
        end,
    ?LOG(Level, "No answer to ~s: ~s (~ts)", [warder_operations:slug(Operation), failure_word(Failure), Detail]),
    {error, Failure}.

read(#{oversize := true}, _Id, _Question) ->
    {error, bad_reply, <<"too large">>};
read(#{payload := Payload}, Id, #question{operation = Operation, options = Options}) ->
    %% The payload is part of what many replies came in; what the hook keeps of it shall not keep that.
    case warder_codec:decode(binary:copy(Payload)) of
        {error, Detail} -> {error, bad_reply, Detail};
        {ok, Map} -> verify(warder_replies:check(Operation, Map, Id), Options)
    end.

verify({ok, Reply}, #{verify := Verify}) ->
    try Verify(Reply) of
        true -> {ok, Reply};
        _ -> {error, bad_reply, <<"the asker cannot use it">>}
    catch
        Class:Reason -> {error, bad_reply, unicode:characters_to_binary(io_lib:format("~0p", [{Class, Reason}]))}
    end;
verify(Checked, _Options) ->
    Checked.

now_us() ->
    erlang:monotonic_time(microsecond).
