# Obeys the test, line by line, and answers each with its status.
exec 3< /dev/console
stty -echo <&3
echo FV-SHELL
while read -r line <&3; do
    eval "$line"
    echo "FV-STATUS $?"
done
