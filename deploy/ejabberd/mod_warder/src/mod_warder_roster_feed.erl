%%% What a host hears of changes, as it concerns the rosters of those who are online there: whose may have changed, by
%%% which number, and how soon that is worth a question.
-module(mod_warder_roster_feed).

-export([open/2, close/1, names/1, read/2]).
-export_type([feed/0, names/0, news/0]).

%% In which several changes are one.
-define(COALESCE_MS, 20).
%% How long after connecting to begin: the workers are connecting too, and the first number says what was missed.
-define(SETTLE_MS, 500).

%% The changes, and the connection that they come by; and the monitor of who tells of them.
-record(feed, {
    host :: binary(),
    names :: names(),
    status :: reference(),
    changes :: reference(),
    monitor :: reference(),
    seen = 0 :: non_neg_integer()
}).

-opaque feed() :: #feed{}.
-type names() :: {Client :: atom(), Changes :: atom()}.
%% `reset': nobody numbers changes any more.
-type sequence() :: non_neg_integer() | none | reset.
-type news() ::
    {all, sequence(), DelayMs :: pos_integer()} | {user, LUser :: binary(), sequence(), DelayMs :: pos_integer()}.

%% @doc The caller is sent what read/2 takes.
-spec open(Host :: binary(), names()) -> {ok, feed()} | error.
open(Host, {Client, Changes} = Names) ->
    %% It does not outlive its connection (warder_sup), so one monitor does for both.
    Monitor = monitor(process, Changes),
    try
        {ok, Status} = warder_nats:listen(Client),
        {ok, Ref} = warder_changes:listen(Changes),
        {ok, #feed{host = Host, names = Names, status = Status, changes = Ref, monitor = Monitor}}
    catch
        exit:_ ->
            _ = demonitor(Monitor, [flush]),
            error
    end.

-spec close(feed()) -> ok.
close(#feed{names = {Client, Changes}, status = Status, changes = Ref, monitor = Monitor}) ->
    _ = demonitor(Monitor, [flush]),
    _ = catch warder_nats:unlisten(Client, Status),
    _ = catch warder_changes:unlisten(Changes, Ref),
    ok.

-spec names(feed()) -> names().
names(#feed{names = Names}) ->
    Names.

%% @doc What a message means to the host; `lost' where no more will come, `other' where it is none of these.
-spec read(term(), feed()) -> {[news()], feed()} | lost | other.
read({warder_change, Ref, Change, Sequence}, #feed{changes = Ref} = Feed) ->
    {changed(Change, Sequence, Feed), seen(Sequence, Feed)};
read({warder_nats, Ref, {connected, Info}}, #feed{status = Ref} = Feed) ->
    case Info of
        #{<<"jetstream">> := true} -> {[{all, none, ?SETTLE_MS}], Feed};
        _ -> {[{all, reset, ?SETTLE_MS}], Feed}
    end;
read({'DOWN', Monitor, process, _, _}, #feed{monitor = Monitor}) ->
    lost;
read(_Message, _Feed) ->
    other.

changed(all, none, _Feed) ->
    [{all, reset, ?SETTLE_MS}];
%% Numbers began anew: whatever is known may be older, whatever its number.
changed(all, Sequence, #feed{seen = Seen}) when Sequence =< Seen ->
    [{all, none, ?COALESCE_MS}];
changed({user, Jid}, Sequence, #feed{host = Host}) ->
    [{user, LUser, Sequence, ?COALESCE_MS} || [LUser, LServer] <- [binary:split(Jid, <<"@">>)], LServer =:= Host];
changed(Change, Sequence, #feed{host = Host}) when
    Change =:= all; Change =:= {domain, Host}; Change =:= {operation, roster_refresh}
->
    [{all, Sequence, ?COALESCE_MS}];
changed(_Change, _Sequence, _Feed) ->
    [].

seen(none, Feed) -> Feed;
seen(Sequence, #feed{seen = Seen} = Feed) -> Feed#feed{seen = max(Seen, Sequence)}.
