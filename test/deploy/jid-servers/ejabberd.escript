#!/usr/bin/env escript
%%! -noinput
%% Reads parts of JIDs and writes what ejabberd's library prepares them to: escript ejabberd.escript IN OUT
%% The format is that of prosody.lua. Without the library it says so and ends with 3.

-mode(compile).

main([In, Out]) ->
    case code:which(stringprep) of
        non_existing ->
            io:format("erlang-p1-stringprep is not installed~n"),
            halt(3);
        _ ->
            _ = stringprep:load_nif(),
            {ok, Bytes} = file:read_file(In),
            ok = file:write_file(Out, prepare(Bytes, []))
    end.

prepare(<<Profile, Length:32, Text:Length/binary, Rest/binary>>, Done) ->
    prepare(Rest, [result(profile(Profile, Text)) | Done]);
prepare(<<>>, Done) ->
    lists:reverse(Done).

profile(0, Text) -> stringprep:nodeprep(Text);
profile(1, Text) -> stringprep:nameprep(Text);
profile(2, Text) -> stringprep:resourceprep(Text).

result(error) -> <<16#ffffffff:32>>;
result(Prepared) -> [<<(byte_size(Prepared)):32>>, Prepared].
