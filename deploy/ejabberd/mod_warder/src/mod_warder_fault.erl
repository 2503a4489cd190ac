%%% What the log says of a fault of the hook's own: its kind and where it happened, and nothing of the values that were
%%% there, which may be what people write to each other, or secrets.
-module(mod_warder_fault).

-export([text/3]).

-define(MAX_FRAMES, 8).

-type class() :: error | exit | throw.

%% @doc As `Class:Reason:Stack' was caught; several lines.
-spec text(class(), term(), [term()]) -> iolist().
text(Class, Reason, Stack) ->
    Where = [["\n**   ", frame(Frame)] || Frame <- lists:sublist(Stack, ?MAX_FRAMES)],
    [io_lib:format("~s ~ts", [Class, kind(Reason)]) | Where].

kind(Reason) when is_atom(Reason) ->
    atom_to_binary(Reason);
kind(Reason) when is_tuple(Reason), tuple_size(Reason) > 0, is_atom(element(1, Reason)) ->
    atom_to_binary(element(1, Reason));
kind(_Reason) ->
    <<"without a name">>.

frame({Module, Function, Arguments, Location}) when is_list(Arguments) ->
    frame({Module, Function, length(Arguments), Location});
frame({Module, Function, Arity, Location}) ->
    Line = [[$:, integer_to_binary(Given)] || {line, Given} <- Location],
    io_lib:format("~s:~ts/~b~s", [Module, Function, Arity, Line]);
frame(_Other) ->
    "somewhere".
